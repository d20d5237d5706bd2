"""A record of the log is one record, whatever is in it: a line for people, or a JSON object a line."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Collection, Mapping
from typing import IO, TYPE_CHECKING, Any, Final

from anystrat.domain.tick import datetime_of

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from anystrat.domain.clock import Clock

_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
#: What structlog itself puts into a record, and its methods take as arguments.
_TAKEN: Final = frozenset({"event", "level", "timestamp", "exc_info", "stack_info", "exception", "self", "logger"})
_INDENT: Final = "    "


def logger(level: str = "info", *, json: bool = False, clock: Clock | None = None) -> FilteringBoundLogger:
    """A logger of our own to standard error; control characters are escaped, so that a record stays one record (CWE-117).

    Console lines for people (colours only on a terminal, none with NO_COLOR), or one JSON object a line. `clock` stamps
    the records; without one it is the system's. A line that cannot be written is left out: the run goes on.
    """
    import structlog  # noqa: PLC0415  a service that logs nothing does not pay for it

    colours = sys.stderr.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    renderer: Any = structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=colours)
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True) if clock is None else _stamped_by(clock)
    made: FilteringBoundLogger = structlog.wrap_logger(
        _Lines(sys.stderr),
        processors=[structlog.processors.add_log_level, stamp, _escaped(indent=not json), renderer],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        cache_logger_on_first_use=True,
    )
    return made


def apart(details: Mapping[str, Any], own: Collection[str] = ()) -> dict[str, Any]:
    """Details from elsewhere as fields of a record; those with a name that is taken get another."""
    return {f"{name}_" if name in _TAKEN or name in own else name: value for name, value in details.items()}


def printable(text: str) -> str:
    """The text with every character escaped that does not print: line ends, escape sequences, reversed writing."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)


class _Lines:
    """Writes lines; what the other end does not take is lost, and nobody is told: there is nobody to tell."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def msg(self, message: str) -> None:
        try:
            self._stream.write(message + "\n")
            self._stream.flush()
        except (OSError, ValueError):  # a closed pipe, a closed file
            pass

    debug = info = warning = error = critical = log = msg


Processor = Callable[[Any, str, Any], Any]


def _stamped_by(clock: Clock) -> Processor:
    def stamp(_logger: Any, _method: str, record: Any) -> Any:
        record["timestamp"] = datetime_of(clock.now_ns()).isoformat().replace("+00:00", "Z")
        return record

    return stamp


def _escaped(*, indent: bool) -> Processor:
    def escape(_logger: Any, _method: str, record: Any) -> Any:
        """Names and values, however deep. A traceback keeps its lines, which is what makes it readable."""
        made: dict[str, Any] = {}
        for name, value in record.items():
            if name == "exception" and isinstance(value, str):
                # Indented, no line of it can be taken for a record.
                lines = [printable(line) for line in value.replace("\r", "\\r").split("\n")]
                made[name] = "\n".join(_INDENT + line if indent else line for line in lines)
            else:
                made[printable(str(name))] = _plain(value)
        return made

    return escape


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {printable(str(name)): _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(each) for each in value]
    return value if value is None or isinstance(value, (bool, int)) else printable(str(value))
