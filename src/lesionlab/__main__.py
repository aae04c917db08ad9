"""`python -m lesionlab` is the command `lesionlab`."""

import sys

from lesionlab.cli import main

sys.exit(main())
