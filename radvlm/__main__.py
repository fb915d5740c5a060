"""``python -m radvlm`` does the same as ``radvlm``."""

from __future__ import annotations

import sys

from radvlm.cli.main import main

sys.exit(main())
