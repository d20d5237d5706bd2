"""How a strategy declares its parameters: typed fields with bounds, units and a sentence each.

A parameters class is a frozen dataclass whose fields are `Annotated` with the constraints of `annotated_types` and
with `Doc` and `Unit` from here. Checks, JSON Schema, `anystrat types` and the reference pages are derived from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from annotated_types import Ge, Gt, Le, Lt

__all__ = ["Doc", "Ge", "Gt", "Le", "Lt", "ParameterError", "PathParameter", "Unit"]


#: No window holds more ticks, so that a slip of the finger is refused where it stands and not when memory is out.
LONGEST_WINDOW: Final = 1_000_000
#: Quantities beyond 2^53 are not exact in doubles, in which fills are computed.
LARGEST_SIZE: Final = 2**53


@dataclass(frozen=True, slots=True)
class Doc:
    """What the parameter means, in one sentence."""

    text: str


@dataclass(frozen=True, slots=True)
class Unit:
    """What the parameter is counted in: ticks, seconds, units, a ratio."""

    name: str


@dataclass(frozen=True, slots=True)
class PathParameter:
    """The parameter names a file: a relative path is relative to the file that names it."""


class ParameterError(ValueError):
    """Values that are fine one by one and impossible together; raised by a parameters class's `__post_init__`.

    `found` is the field's value, for messages that do not show it otherwise.
    """

    def __init__(self, field: str, message: str, found: object = None) -> None:
        super().__init__(f"{field}: {message}" if found is None else f"{field}: {message}, found {found}")
        self.field, self.message, self.found = field, message, found
