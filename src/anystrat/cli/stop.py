"""`anystrat stop`: an operator's command to a running service."""

from __future__ import annotations

from anystrat.cli.operate import operation

command = operation("stop", "Stop strategies for good.", "They stay stopped over restarts, until they are enabled.")
