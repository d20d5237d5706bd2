"""The error of signal files."""

from __future__ import annotations

from anystrat.domain.errors import AnystratError


class SignalFileError(AnystratError):
    """A signal file cannot be written; the text says why and what to do. What was written before is kept."""

    exit_code = 2
