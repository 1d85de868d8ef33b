"""`python -m meddiff.cli`."""

import sys

from meddiff.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
