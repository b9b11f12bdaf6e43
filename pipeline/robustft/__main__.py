"""`python -m robustft`: the same as the `robustft` command."""

import sys

from robustft.cli.parser import main

sys.exit(main())
