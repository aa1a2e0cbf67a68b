"""`python -m ptm`: the same as `ptm`. `ptm launch` starts ranks with it outside a checkout."""

import sys

from ptm.cli import main
from ptm.launch.command import unpacked

if __name__ == "__main__":
    raise SystemExit(main(unpacked(sys.argv[1:])))
