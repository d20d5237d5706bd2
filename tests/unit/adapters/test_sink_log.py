from __future__ import annotations

import asyncio
import io

import pytest
import structlog

from anystrat.adapters.sink_log import LogSink
from anystrat.domain.journal import OutboxSignal

SIGNAL = OutboxSignal("out", 1, "ab" * 16, "s", 7, 12, 0, b'{"strategy_id":"s","price":"1.5","metadata":{"event":"x"}}')


@pytest.mark.parametrize(("level", "lines"), [("info", 1), ("warning", 1), ("debug", 0)])
def test_a_signal_is_a_line_of_its_level(level, lines) -> None:
    out = io.StringIO()
    log = structlog.wrap_logger(
        structlog.PrintLogger(out),
        processors=[structlog.processors.add_log_level, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(20),
    )

    asyncio.run(LogSink(log, level).send([SIGNAL]))

    written = out.getvalue().splitlines()
    assert len(written) == lines
    assert all('"event": "signal"' in line and f'"level": "{level}"' in line for line in written)
