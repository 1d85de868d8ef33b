"""`python -m meddiff.cli`."""

import sys

from meddiff.cli.main import main

sys.exit(main())
