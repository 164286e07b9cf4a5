"""Files → volumes and acquisition records, and back: the only room that reads or writes images.

`load_nifti` reads the images of one scan, `find_runs` and `load` those of a BIDS dataset; both give a `Scan`.
`read` and `write` are for single NIfTI files.
"""

from mensura.io.bids import MultiEchoRun, find_runs, load
from mensura.io.nifti import Image, read, stack, write
from mensura.io.scans import Scan, load_nifti

__all__ = ["Image", "MultiEchoRun", "Scan", "find_runs", "load", "load_nifti", "read", "stack", "write"]
