"""`python -m engramos.cli` is `engramos`."""

import sys

from engramos.cli import main

if __name__ == "__main__":
    sys.exit(main())
