"""`anystrat pause`: an operator's command to a running service."""

from __future__ import annotations

from anystrat.cli.operate import operation

command = operation(
    "pause",
    "Let strategies of a running service pause: they decide nothing.",
    "Windows and positions go on, until they are resumed.",
)
