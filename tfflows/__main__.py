"""`python -m tfflows` is the command `tfflows`."""

import sys

from tfflows.cli import main

sys.exit(main())
