"""`python -m robustft`: the same as the `robustft` command."""

import sys

from robustft.cli import main

sys.exit(main())
