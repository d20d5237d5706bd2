"""`anystrat enable`: an operator's command to a running service."""

from __future__ import annotations

from anystrat.cli.operate import operation

command = operation(
    "enable",
    "Let stopped strategies begin anew.",
    "They have the windows and positions that they had. Exits with 6 where the kill switch is on.",
)
