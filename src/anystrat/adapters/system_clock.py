"""The wall clock of this machine."""

from __future__ import annotations

import time


class SystemClock:
    """The `Clock` of a real run."""

    def now_ns(self) -> int:
        return time.time_ns()
