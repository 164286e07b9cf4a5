"""mensura: scans in, physical maps out, each with its uncertainty and the record of how it came about."""

from importlib.metadata import version as _version

__version__ = _version("mensura")
