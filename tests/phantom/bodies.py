"""Small things to scan: an egg of one or of several materials in air, whose properties are known exactly."""

import numpy as np

from mensura.phantom.scene import Anatomy, Texture, build_scene
from mensura.phantom.tissues import AIR_CHI, Tissue
from mensura.scan import Grid

WATER = Tissue(0.05, -0.05, 0.0, 0.9, 1.1, 0.08, {3.0: 5.0}, mt_saturation=0.012)
TUMOUR = Tissue(0.05, -0.05, 0.0, 0.9, 1.4, 0.09, {3.0: 4.0}, ktrans=0.2 / 60, ve=0.3, vp=0.05)
FAT = Tissue(0.0, 0.0, 0.0, 1.0, 0.38, 0.07, {3.0: 0.0}, fat_fraction=1.0)
AIR = Tissue(AIR_CHI, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0)
RADII = np.array([26.0, 34.0, 20.0])
BOX = ((-60.0, 60.0),) * 3


def egg(*materials: Tissue) -> Anatomy:
    """An ellipsoid about the origin, cut into slabs of the materials (labels 1, 2, …) from left to right."""

    def tissue_at(points):
        x, y, z = points
        inside = (x / RADII[0]) ** 2 + (y / RADII[1]) ** 2 + (z / RADII[2]) ** 2 < 1
        slab = np.floor((x + RADII[0]) / (2 * RADII[0]) * len(materials)).clip(0, len(materials) - 1)
        return np.where(inside, 1 + slab, 0).astype(np.uint8), inside

    return Anatomy(tissue_at, {0: AIR, **dict(enumerate(materials, start=1))}, box=BOX)


def scene_of(*materials: Tissue, shape=(24, 24, 24), voxel_size=4.0, supersampling=2):
    grid = Grid.from_voxel_size(shape, (voxel_size,) * 3)
    return build_scene(egg(*materials), grid, supersampling=supersampling, texture=Texture.draw(0))
