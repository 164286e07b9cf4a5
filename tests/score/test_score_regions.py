"""Names of labels → regions, and the rim of a mask."""

import numpy as np
import pytest

from mensura.phantom.tissues import names
from mensura.scan import ScanError
from mensura.score import Segmentation, groups, rim_mask
from mensura.score.regions import region_of


def test_the_heads_own_labels_fall_into_their_regions():
    words = names()
    found = {region: {words[label] for label in labels} for region, labels in groups(words).items()}
    assert found["deep-grey"] == {
        "caudate", "putamen", "pallidum", "red nucleus", "substantia nigra", "dentate"
    }  # fmt: skip
    assert found["blood"] == {"vein", "sinus"}
    assert found["calcification"] == {"calcification"}
    assert found["tissue"] >= {"cortex", "white matter", "corpus callosum", "thalamus", "brainstem"}
    assert not set().union(*found.values()) & {"air", "csf", "fat", "bone", "muscle", "eye", "haemorrhage"}


@pytest.mark.parametrize(
    ("name", "region"),
    [
        ("Left-Caudate", "deep-grey"),
        ("Right-Cerebral-White-Matter", "tissue"),
        ("ctx-lh-cortex", "tissue"),
        ("Globus Pallidus", "deep-grey"),
        ("substantia_nigra", "deep-grey"),
        ("Thalamus", "tissue"),
        ("Brain-Stem", "tissue"),
        ("superior sagittal sinus", "blood"),
        ("sagittal sinus", "blood"),
        ("frontal sinus", None),
        ("WM-hypointensities", None),
        ("CSF", None),
    ],
)
def test_names_of_other_segmentations(name, region):
    assert region_of(name) == region


def test_a_segmentation_gives_the_voxels_of_its_regions():
    labels = np.array([0, 1, 2, 3, 1])
    segmentation = Segmentation(labels, {"a": (1, 3), "b": (3,)})
    masks = dict(segmentation.masks())
    assert masks["a"].tolist() == [False, True, False, True, True]
    assert masks["b"].tolist() == [False, False, False, True, False]


def test_the_rim_is_measured_in_mm_from_the_voxels_outside():
    mask = np.zeros((9, 1, 1), bool)
    mask[1:8] = True
    assert np.flatnonzero(rim_mask(mask, (2, 1, 1), 2)).tolist() == [1, 7]
    assert np.flatnonzero(rim_mask(mask, (2, 1, 1), 4)).tolist() == [1, 2, 6, 7]
    assert np.flatnonzero(rim_mask(mask, (2, 1, 1), 1)).tolist() == []


def test_the_faces_of_the_volume_are_no_rim():
    mask = np.ones((6, 1, 1), bool)
    assert not rim_mask(mask, (1, 1, 1), 2).any()
    mask[5] = False
    assert np.flatnonzero(rim_mask(mask, (1, 1, 1), 2)).tolist() == [3, 4]


def test_a_negative_rim_is_refused():
    with pytest.raises(ScanError, match="-1 mm"):
        rim_mask(np.ones((2, 2, 2)), (1, 1, 1), -1)
