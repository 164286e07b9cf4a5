"""Which voxels belong together: tissues by the names of their labels, and the mask's rim."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from mensura.scan import BoolArray, ScanError

Groups = Mapping[str, Sequence[int]]
"""Name of a region → the labels of the segmentation that make it up."""

GROUPS: dict[str, str] = {
    "calcification": r"calcifications?|calcified",
    "blood": r"veins?|vessels?|blood|sinus"
    r"|((superior|inferior) )?(venous|dural|sagittal|straight|transverse) sinus(es)?",
    "deep-grey": r"caudate|putamen|(globus )?pallidus|pallidum|red nucleus|substantia nigra|subthalamic nucleus"
    r"|dentate( nucleus)?|deep gr[ea]y( matter)?",
    "tissue": r"cortex|gr[ea]y matter|white matter|corpus callosum|thalamus( proper)?|brain ?stem"
    r"|cerebell(um|ar)( (cortex|white|white matter))?",
}
"""Region → names of its labels, the first that fits (words alike but for side, case and hyphens). As in the second
reconstruction challenge (DOI 10.1002/mrm.28754) the thalamus is tissue; vessels are blood, sinuses among them."""
SIDES = r"(left|right|lh|rh|l|r|ctx|cerebral)"
"""Words around a name that say nothing of its tissue."""


def groups(names: Mapping[int, str]) -> dict[str, tuple[int, ...]]:
    """Label → name → the labels of each region of `GROUPS` that has any, in the order of the labels."""
    found: dict[str, list[int]] = {name: [] for name in reversed(GROUPS)}
    for label in sorted(names):
        region = region_of(names[label])
        if region is not None:
            found[region].append(label)
    return {region: tuple(labels) for region, labels in found.items() if labels}


def region_of(name: str) -> str | None:
    """Name of a label → its region of `GROUPS`, or None: "Left-Caudate" → deep-grey."""
    words = plain_name(name)
    return next((region for region, pattern in GROUPS.items() if re.fullmatch(pattern, words)), None)


def plain_name(name: str) -> str:
    """Name of a label → its words in lower case, without side: "Left-Caudate" → caudate."""
    return " ".join(w for w in re.split(r"[\W_]+", name.lower()) if w and not re.fullmatch(SIDES, w))


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Labels of the voxels, and which of them make up which region; a label may be in several."""

    labels: NDArray[np.integer[Any]]
    groups: Groups

    def mask(self, region: str) -> BoolArray:
        """Name of a region → its voxels."""
        return self.of(self.groups[region])

    def of(self, chosen: Iterable[int]) -> BoolArray:
        """Labels → the voxels that carry one of them."""
        found: BoolArray = np.isin(self.labels, list(chosen))
        return found

    def masks(self) -> Iterator[tuple[str, BoolArray]]:
        """Every region with its voxels."""
        yield from ((region, self.mask(region)) for region in self.groups)


def rim_mask(mask: ArrayLike, voxel_size: Sequence[float], width: float) -> BoolArray:
    """Mask, voxel size (mm), width (mm) → its voxels whose centre is within `width` of a voxel outside.

    What lies beyond the volume's faces is unknown and counts as mask. ScanError for a negative width.
    """
    if width < 0:
        raise ScanError(f"a rim of {width:g} mm cannot be meant; give zero or more")
    inside = np.asarray(mask, bool)
    if inside.all():
        return np.zeros_like(inside)
    depth: NDArray[np.float64] = ndimage.distance_transform_edt(inside, sampling=voxel_size)
    return inside & (depth <= width * (1 + 1e-6))
