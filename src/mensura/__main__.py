"""`python -m mensura` is the same as `mensura`."""

import sys

from mensura.cli import main

if __name__ == "__main__":
    sys.exit(main())
