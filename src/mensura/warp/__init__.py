"""Where the nonlinearity of the gradients puts things, and images pulled back from there.

`distortion(harmonics, grid, frame)` says where each voxel is found, `undistorted(signal, distortion)` fetches it.
"""

from mensura.warp.distortion import Distortion, distortion
from mensura.warp.frame import coil_frame
from mensura.warp.harmonics import Harmonics
from mensura.warp.resample import undistorted

__all__ = ["Distortion", "Harmonics", "coil_frame", "distortion", "undistorted"]
