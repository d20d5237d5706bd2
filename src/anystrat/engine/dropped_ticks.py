"""The ticks of a block that were not accepted, as outcomes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from anystrat.domain.outcomes import TickDrop, TickDropped
from anystrat.engine.columns.grouping import DROP_OF_PLACE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anystrat.domain.columns import TickColumns


def dropped_ticks(
    block: TickColumns, place: NDArray[np.int64], at_most: int | None = None
) -> Iterator[tuple[int, TickDropped]]:
    """(number in the block, outcome) of each dropped tick, one kind after the other; `place` as in `columns.grouping`.

    With `at_most`, only the first of each kind, and of those of no instrument one each.
    """
    for code, reason in DROP_OF_PLACE.items() if len(place) else ():
        places = np.flatnonzero(place == code)
        if at_most is not None and reason is TickDrop.UNROUTED:
            places = places[np.sort(np.unique(block.instrument_token[places], return_index=True)[1])]
        places = places[:at_most]
        for j, row in zip(places.tolist(), block.taken(places).rows(), strict=True):
            yield j, TickDropped(reason, row)
