"""The data of the charts over time: curves, fills and drops, cut down to what a screen can show, as base64 of numbers."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anystrat.backtest.curves import Curve
    from anystrat.backtest.result import BacktestResult

#: Buckets of the two main curves, of every other account's, and of prices; how many of each are drawn at most.
_MAIN: Final = 3_000
_OTHERS: Final = 24_000
_PRICES: Final = 48_000
_MOST_CURVE: Final = 1_500
_MOST_ACCOUNTS: Final = 24
_MOST_INSTRUMENTS: Final = 60
_MOST_FILLS: Final = 20_000
_DROP_COLUMNS: Final = 240
_MS: Final = 1_000_000
#: A pause without a tick is left out of the time axis where it is so many times a usual step, and so long.
_PAUSE: Final = 12
_SHORTEST_PAUSE: Final = 3_600_000_000_000
_MOST_PAUSES: Final = 2_000


def chart_data(result: BacktestResult) -> dict[str, Any]:
    """What the script draws from. Times are milliseconds after `t0`; numbers are little-endian doubles or floats in base64."""
    curve = result.portfolio.curve
    hold = result.buy_and_hold.curve
    t0 = int(min(curve.first[0], hold.first[0])) if len(curve.ts) else 0
    t1 = int(max(curve.ts[-1], hold.ts[-1])) if len(curve.ts) else 0
    return {
        "name": result.facts.name,
        "t0": t0 / _MS,
        "span": (t1 - t0) / _MS,
        "pauses": _pauses(hold, t0),
        "accounts": _accounts(result, t0),
        "instruments": _instruments(result, t0),
        "drops": _drops(result, t0, t1),
    }


def _accounts(result: BacktestResult, t0: int) -> list[dict[str, Any]]:
    strategies = result.accounts[:-2]
    shown = strategies[:_MOST_ACCOUNTS] if len(strategies) > 1 else []
    room = min(_MOST_CURVE, _OTHERS // max(1, len(shown)))
    rows = [(result.portfolio, "portfolio", _MAIN), (result.buy_and_hold, "hold", _MAIN)]
    rows += [(account, "strategy", room) for account in shown]
    found = []
    for account, kind, most in rows:
        curve = reduced(account.curve, most)
        found.append(
            {
                "name": account.name if kind != "portfolio" or len(strategies) != 1 else strategies[0].name,
                "kind": kind,
                "start": account.start,
                "t": _times(curve.ts, t0),
                "low": _floats(curve.low - account.start),
                "high": _floats(curve.high - account.start),
                "last": _floats(curve.last - account.start),
                "worst": _floats(curve.worst),
            }
        )
    return found


def _instruments(result: BacktestResult, t0: int) -> list[dict[str, Any]]:
    """The instruments that were traded most, with their fills, evenly thinned out where they are too many."""
    table = result.instruments
    seen = np.flatnonzero(table["first_price"] > 0.0)
    chosen = seen[np.argsort(-table["fills"][seen], kind="stable")][:_MOST_INSTRUMENTS]
    room = min(_MOST_CURVE, _PRICES // max(1, len(chosen)))
    fills = result.fills
    whose = {name: at for at, name in enumerate(result.strategies)}
    account_of = _account_of(result)
    share = min(1.0, _MOST_FILLS / max(1, fills.rows))
    drops = result.drops
    found = []
    for i in chosen.tolist():
        token = int(table["instrument_token"][i])
        curve = reduced(result.prices(token), room)
        mine = np.flatnonzero(fills["instrument_token"] == token)
        kept = mine
        if share < 1.0 and len(mine):
            kept = mine[np.linspace(0, len(mine) - 1, max(1, int(len(mine) * share))).astype(np.int64)]
        refused = drops["instrument_token"] == token
        found.append(
            {
                "symbol": result.symbol(token),
                "t": _times(curve.ts, t0),
                "low": _floats(curve.low),
                "high": _floats(curve.high),
                "last": _floats(curve.last),
                "fills": {
                    "all": len(mine),
                    "t": _times(fills["ts_ns"][kept], t0),
                    "price": _floats(fills["price"][kept]),
                    "quantity": _floats(fills["quantity"][kept]),
                    "after": _floats(fills["position"][kept]),
                    "realised": _floats(fills["realised"][kept]),
                    "account": [whose[account_of[key]] for key in _keys(fills, kept)],
                },
                "drops": _binned(drops, np.flatnonzero(refused), t0, result),
            }
        )
    return found


def _account_of(result: BacktestResult) -> dict[tuple[str, str], str]:
    names = list(result.strategies)
    pairs = list(dict.fromkeys((one.strategy_id, one.broker) for one in result.executors))
    return dict(zip(pairs, names, strict=True))


def _keys(fills: Any, kept: NDArray[np.int64]) -> list[tuple[str, str]]:
    return list(zip(fills["strategy_id"][kept].tolist(), fills["broker"][kept].tolist(), strict=True))


def _binned(drops: Any, rows: NDArray[np.int64], t0: int, result: BacktestResult) -> list[list[float]]:
    """(time, drops) of some rows of the table of drops, in as many columns as a chart has room for."""
    if not len(rows):
        return []
    ts, count = drops["ts_ns"][rows], drops["count"][rows]
    end = int(result.portfolio.curve.ts[-1])
    width = max(1, (end - t0) // _DROP_COLUMNS + 1)
    column = np.clip((ts - t0) // width, 0, _DROP_COLUMNS - 1)
    total = np.bincount(column, weights=count)
    return [[round((at + 0.5) * width / _MS, 3), int(total[at])] for at in np.flatnonzero(total).tolist()]


def _drops(result: BacktestResult, t0: int, t1: int) -> dict[str, Any]:
    """Counts by column of time and reason, the commonest reason first."""
    drops = result.drops
    names, of = np.unique(drops["reason"], return_inverse=True)
    total = np.bincount(of, weights=drops["count"], minlength=len(names))
    order = np.argsort(-total, kind="stable")
    width = max(1, (t1 - t0) // _DROP_COLUMNS + 1)
    column = np.clip((drops["ts_ns"] - t0) // width, 0, _DROP_COLUMNS - 1)
    grid = np.zeros((len(names), _DROP_COLUMNS), np.int64)
    np.add.at(grid, (of, column), drops["count"])
    return {
        "width": width / _MS,
        "reasons": [str(names[at]) for at in order.tolist()],
        "counts": [grid[at].tolist() for at in order.tolist()],
    }


def _pauses(curve: Curve, t0: int) -> list[list[float]]:
    """Stretches without a tick that are long beside the usual step: nights, weekends, holidays."""
    steps = curve.first[1:] - curve.ts[:-1]
    if len(steps) < 8:
        return []
    usual = float(np.median(curve.first[1:] - curve.first[:-1]))
    long = np.flatnonzero(steps > max(_PAUSE * usual, _SHORTEST_PAUSE))
    if len(long) > _MOST_PAUSES:
        return []
    return [[(int(curve.ts[k]) - t0) / _MS, (int(curve.first[k + 1]) - t0) / _MS] for k in long.tolist()]


def reduced(curve: Curve, most: int) -> Curve:
    """The curve with at most so many buckets, neighbours merged; no low, no high and no depth is lost."""
    size = len(curve.ts)
    if size <= most:
        return curve
    starts = np.unique(np.linspace(0, size, most, endpoint=False).astype(np.int64))
    ends = np.append(starts[1:], size) - 1
    return curve._replace(
        first=curve.first[starts],
        ts=curve.ts[ends],
        low=np.minimum.reduceat(curve.low, starts),
        high=np.maximum.reduceat(curve.high, starts),
        last=curve.last[ends],
        worst=np.maximum.reduceat(curve.worst, starts),
    )


def _times(ts: NDArray[np.int64], t0: int) -> str:
    return b64encode(((ts - t0) / _MS).astype("<f8").tobytes()).decode("ascii")


def _floats(values: NDArray[Any]) -> str:
    return b64encode(values.astype("<f4").tobytes()).decode("ascii")
