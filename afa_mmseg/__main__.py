"""`python -m afa_mmseg`: the command `afa`."""

import sys

from afa_mmseg_cli import main

sys.exit(main())
