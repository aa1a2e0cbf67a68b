"""`python -m ptm` is `ptm`."""

from ptm.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
