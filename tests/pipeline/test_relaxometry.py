"""Which voxels are fitted where no mask is given."""

from __future__ import annotations

import numpy as np

from mensura.pipeline.relaxometry import bright


def test_voxels_with_signal_are_found_however_little_of_the_volume_they_fill() -> None:
    noise = np.abs(np.random.default_rng(0).standard_normal((2, 40, 40, 40, 4))).astype(np.float32)
    images = np.hypot(*noise)
    inside = np.zeros((40, 40, 40), bool)
    for edge in (8, 30):
        inside[:edge, :edge, :edge] = True
        images[inside] = 25
        found = bright(images)
        assert found[inside].all()
        assert found[~inside].mean() < 0.01
    assert not bright(np.zeros((3, 3, 3, 2), np.float32)).any()
