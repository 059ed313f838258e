"""`python -m heeler` is the command `heeler`."""

import sys

from heeler.cli import main

if __name__ == "__main__":
    sys.exit(main())
