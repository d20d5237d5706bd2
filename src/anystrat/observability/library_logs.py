"""What libraries say through Python's own `logging`, in the same log as everything else."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger


class LibraryLogs(logging.Handler):
    """Takes what libraries say through `logging`, warnings and worse, into the same log.

    Until `close`, the root logger has this handler alone.
    """

    def __init__(self, log: FilteringBoundLogger) -> None:
        super().__init__(logging.WARNING)
        self._log = log
        root = logging.getLogger()
        self._before = list(root.handlers)
        root.handlers[:] = [self]

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        try:
            fields: dict[str, Any] = {"library": record.name}
            if record.exc_info and record.exc_info[0] is not None:
                fields["exception"] = logging.Formatter().formatException(record.exc_info)
            write = self._log.error if record.levelno >= logging.ERROR else self._log.warning
            write(record.getMessage(), **fields)
        except Exception:  # noqa: BLE001  a library's odd record must not end what it was logged from
            self._log.warning("a library's record cannot be read", library=record.name)

    def close(self) -> None:
        """Give the root logger back as it was."""
        root = logging.getLogger()
        if self in root.handlers:
            root.handlers[:] = self._before
        super().close()
