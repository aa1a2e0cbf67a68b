"""`python -m ptm` is `ptm`; `ptm launch` starts ranks by it where there is no checkout."""

import sys

from ptm.cli import main
from ptm.launch.command import unpacked

if __name__ == "__main__":
    raise SystemExit(main(unpacked(sys.argv[1:])))
