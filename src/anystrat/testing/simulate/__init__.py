"""The whole service on a simulated loop, with ports that fail: any history, with any faults, from its seed.

`history(seed)` lives through one and checks the invariants I1 to I9; `python -m anystrat.testing.simulate` runs many.
"""

from anystrat.testing.simulate.history import History, Seams, history
from anystrat.testing.simulate.scenario import Subject
from anystrat.testing.simulate.world import Violation

__all__ = ["History", "Seams", "Subject", "Violation", "history"]
