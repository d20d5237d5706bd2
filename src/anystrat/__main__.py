"""`anystrat`, and `python -m anystrat`."""

from __future__ import annotations

import sys

from anystrat.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
