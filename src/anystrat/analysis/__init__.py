"""Answers to "why?" and "can I trust it?": readers of an engine and of its outcomes, on the very engine that decides."""

from anystrat.analysis.explaining.explanation import Explanation
from anystrat.analysis.explaining.moments import Explained, Moments, explain
from anystrat.analysis.explaining.overview import Overview, overview
from anystrat.analysis.explaining.tick import explain_all, explain_tick
from anystrat.analysis.parity import Difference, first_difference, rows_of
from anystrat.analysis.runs import Run, run
from anystrat.analysis.trust.suite import trust
from anystrat.analysis.trust.verdict import Verdict
from anystrat.analysis.whatif import WhatIf, compare

__all__ = [
    "Difference",
    "Explained",
    "Explanation",
    "Moments",
    "Overview",
    "Run",
    "Verdict",
    "WhatIf",
    "compare",
    "explain",
    "explain_all",
    "explain_tick",
    "first_difference",
    "overview",
    "rows_of",
    "run",
    "trust",
]
