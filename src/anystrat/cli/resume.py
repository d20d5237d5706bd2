"""`anystrat resume`: an operator's command to a running service."""

from __future__ import annotations

from anystrat.cli.operate import operation

command = operation(
    "resume",
    "Let paused strategies go on.",
    "Errors and losing streaks are forgotten. Exits with 6 where the kill switch is on.",
)
