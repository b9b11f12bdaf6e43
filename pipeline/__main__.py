"""`python -m pipeline`: the same as the `robustft` command."""

import sys

from pipeline.cli import main

sys.exit(main())
