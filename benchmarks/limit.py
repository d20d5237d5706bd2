"""What a loop written by hand for these two workloads reaches: compiled by Numba, on one core, no objects, no callbacks.

`raw` is the rules alone, and counts what fires. `full` also does what anystrat does by default: it looks at every tick's
price and order, fills the waiting orders on paper with fees and slippage, holds each signal to the checks of confidence,
quantity, price and duplicates, and keeps the accepted signals, with everything that their ids are made of, as arrays.
It knows its workload: which rules there are, that prices have four decimals, that no other check is configured.
"""

# ruff: noqa: ANN001, ANN201  Numba infers the types of kernels

from __future__ import annotations

import hashlib
import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from benchmarks.timing import arguments, emit, repeated
from benchmarks.workloads import INSTRUMENTS, LOOKBACK, STRATEGIES, THRESHOLD, WINDOWS, Z_ENTRY, rows_of, ticks_of

RING = 16
WINDOW_NS = 3_000_000_000
QUANTITY = 100


class Accounts(NamedTuple):
    """Paper accounts: the first three a strategy and instrument, the rest a strategy."""

    position: NDArray[np.int64]
    average: NDArray[np.float64]
    changed: NDArray[np.int64]
    cash: NDArray[np.float64]
    realised: NDArray[np.float64]
    fees: NDArray[np.float64]
    streak: NDArray[np.int64]
    trips: NDArray[np.int64]
    fills: NDArray[np.int64]


class Recent(NamedTuple):
    """What each strategy emitted on each instrument lately: rings of `RING` places."""

    ts: NDArray[np.int64]
    key: NDArray[np.int64]
    count: NDArray[np.int64]
    following: NDArray[np.int64]


class Kept(NamedTuple):
    """The accepted signals."""

    ts: NDArray[np.int64]
    strategy: NDArray[np.int64]
    token: NDArray[np.int64]
    side: NDArray[np.int8]
    confidence: NDArray[np.float64]
    quantity: NDArray[np.int64]
    price: NDArray[np.float64]
    bucket: NDArray[np.int64]
    epoch: NDArray[np.int64]


@njit(cache=True)
def raw_w1(price, lookback, threshold):
    hits = 0
    for i in range(lookback - 1, price.size):
        start = price[i - lookback + 1]
        move = (price[i] - start) / start
        if move > threshold or move < -threshold:
            hits += 1
    return hits


@njit(cache=True)
def raw_w2(token, price, windows, instruments, threshold, entry):
    longest, many = windows[-1], windows.size
    ring = np.zeros((instruments, longest))
    seen = np.zeros(instruments, np.int64)
    sums, squares = np.zeros((instruments, many)), np.zeros((instruments, many))
    first = np.zeros(instruments)
    hits = 0
    for i in range(price.size):
        k = token[i]
        count = seen[k]
        if count == 0:
            first[k] = price[i]
        x = price[i] - first[k]
        for j in range(many):
            w = windows[j]
            a, b = sums[k, j] + x, squares[k, j] + x * x
            if count >= w:
                y = ring[k, (count - w) % longest]
                a -= y
                b -= y * y
            sums[k, j], squares[k, j] = a, b
        ring[k, count % longest] = x
        count += 1
        seen[k] = count
        for j in range(many):
            w = windows[j]
            if count < w:
                break
            start = ring[k, (count - w) % longest] + first[k]
            move = (price[i] - start) / start
            hits += move > threshold or move < -threshold
            mean = sums[k, j] / w
            variance = squares[k, j] / w - mean * mean
            distance = x - mean
            hits += variance > 1e-18 and distance * distance >= entry * entry * variance
    return hits


@njit(cache=True, _nrt=False)
def fill(accounts, q, s, ts, signed, tick_price, fee_bps, slippage_bps):
    slip = slippage_bps / 10_000.0
    price = tick_price * (1.0 + slip) if signed > 0 else tick_price * (1.0 - slip)
    fee = price * abs(signed) * fee_bps / 10_000.0
    position, average = accounts.position[q], accounts.average[q]
    after = position + signed
    if position == 0:
        accounts.average[q] = price
    elif (position > 0) == (signed > 0):
        accounts.average[q] = (average * abs(position) + price * abs(signed)) / (abs(position) + abs(signed))
    else:
        closed = min(abs(position), abs(signed))
        realised = (price - average if position > 0 else average - price) * closed - fee
        accounts.realised[s] += realised
        if realised < 0.0:
            accounts.streak[s] += 1
        elif realised > 0.0:
            accounts.streak[s] = 0
        if after == 0 or (after > 0) != (position > 0):
            accounts.trips[s] += 1
            if after != 0:
                accounts.average[q] = price
    accounts.position[q] = after
    accounts.changed[q] = ts
    accounts.cash[s] -= signed * price + fee
    accounts.fees[s] += fee
    accounts.fills[s] += 1


@njit(cache=True, _nrt=False)
def accepted(recent, kept, n, q, s, token, ts, price, side, confidence, window_ns, quantity):
    """1 where the signal passes the checks, and is kept as number `n`; 0 where it is dropped; -1: a ring is too small."""
    if not 0.0 <= confidence <= 1.0 or quantity <= 0 or not 0.0 < price < math.inf:
        return 0
    bucket = int(price * 10_000.0 + 0.5) // 100
    key = bucket * 4 + side
    count = recent.count[q]
    following = recent.following[q]
    while count > 0 and ts - recent.ts[q, (following - count) % RING] >= window_ns:
        count -= 1
    for back in range(1, count + 1):
        if recent.key[q, (following - back) % RING] == key:
            recent.count[q] = count
            return 0
    if count == RING:
        return -1
    recent.ts[q, following] = ts
    recent.key[q, following] = key
    recent.following[q] = (following + 1) % RING
    recent.count[q] = count + 1
    kept.ts[n] = ts
    kept.strategy[n] = s
    kept.token[n] = token
    kept.side[n] = side
    kept.confidence[n] = confidence
    kept.quantity[n] = quantity
    kept.price[n] = price
    kept.bucket[n] = bucket
    kept.epoch[n] = ts // window_ns
    return 1


@njit(cache=True, _nrt=False)
def full_w1(ticks, lookback, threshold, accounts, recent, kept, window_ns, quantity, costs):
    """(raw signals, accepted signals); -1 where a tick would have to be dropped first, which none here has to."""
    fee_bps, slippage_bps = costs
    emitted = hits = waiting = 0
    last = ticks.ts_ns[0]
    for i in range(ticks.price.size):
        price, ts = ticks.price[i], ticks.ts_ns[i]
        if not 0.0 < price < math.inf or ts < last:
            return -1, -1
        last = ts
        if waiting != 0:
            fill(accounts, 0, 0, ts, waiting, price, fee_bps, slippage_bps)
            waiting = 0
        if i < lookback - 1:
            continue
        start = ticks.price[i - lookback + 1]
        move = (price - start) / start
        if move > threshold or move < -threshold:
            hits += 1
            side = 1 if move > 0.0 else 2
            sure = min(1.0, 5.0 * abs(move))
            status = accepted(recent, kept, emitted, 0, 0, 0, ts, price, side, sure, window_ns, quantity)
            if status < 0:
                return -1, -1
            if status > 0:
                emitted += 1
                waiting = quantity if side == 1 else -quantity
    return hits, emitted


@njit(cache=True, _nrt=False)
def full_w2(  # noqa: C901, PLR0912, PLR0915  a loop written by hand
    ticks, windows, instruments, threshold, entry, market, orders, accounts, recent, kept, window_ns, quantity, costs
):
    """As `full_w1`, over all instruments in the order of the ticks."""
    fee_bps, slippage_bps = costs
    longest, many = windows[-1], windows.size
    rules = 2 * many
    ring, seen, first, last, sums, squares = market
    waiting, waiting_for, waiters = orders
    emitted = hits = 0
    for i in range(ticks.price.size):
        k, price, ts = ticks.token[i], ticks.price[i], ticks.ts_ns[i]
        if not 0 <= k < instruments or not 0.0 < price < math.inf or ts < last[k]:
            return -1, -1
        last[k] = ts
        for each in range(waiters[k]):
            s = waiting_for[k, each]
            fill(accounts, k * rules + s, s, ts, waiting[k, each], price, fee_bps, slippage_bps)
        waiters[k] = 0
        count = seen[k]
        if count == 0:
            first[k] = price
        x = price - first[k]
        for j in range(many):
            w = windows[j]
            a, b = sums[k, j] + x, squares[k, j] + x * x
            if count >= w:
                y = ring[k, (count - w) % longest]
                a -= y
                b -= y * y
            sums[k, j], squares[k, j] = a, b
        ring[k, count % longest] = x
        count += 1
        seen[k] = count
        for j in range(many):
            w = windows[j]
            if count < w:
                break
            start = ring[k, (count - w) % longest] + first[k]
            move = (price - start) / start
            side = 0
            if move > threshold:
                side = 1
            elif move < -threshold:
                side = 2
            if side != 0:
                hits += 1
                s = 2 * j
                q = k * rules + s
                sure = min(1.0, 5.0 * abs(move))
                status = accepted(recent, kept, emitted, q, s, k, ts, price, side, sure, window_ns, quantity)
                if status < 0:
                    return -1, -1
                if status > 0:
                    emitted += 1
                    waiting[k, waiters[k]] = quantity if side == 1 else -quantity
                    waiting_for[k, waiters[k]] = s
                    waiters[k] += 1
            mean = sums[k, j] / w
            variance = squares[k, j] / w - mean * mean
            distance = x - mean
            if variance > 1e-18 and distance * distance >= entry * entry * variance:
                hits += 1
                s = 2 * j + 1
                q = k * rules + s
                side = 2 if distance > 0.0 else 1
                sure = min(1.0, abs(distance) / math.sqrt(variance) / 3.0)
                status = accepted(recent, kept, emitted, q, s, k, ts, price, side, sure, window_ns, quantity)
                if status < 0:
                    return -1, -1
                if status > 0:
                    emitted += 1
                    waiting[k, waiters[k]] = quantity if side == 1 else -quantity
                    waiting_for[k, waiters[k]] = s
                    waiters[k] += 1
    return hits, emitted


def raw(workload: str, ticks: Any) -> int:
    """How often the rules fire."""
    if workload == "W1":
        return int(raw_w1(ticks.price, LOOKBACK, THRESHOLD))
    return int(raw_w2(ticks.token, ticks.price, np.array(WINDOWS), INSTRUMENTS, THRESHOLD, Z_ENTRY))


def full(workload: str, ticks: Any) -> tuple[int, Kept, Accounts]:
    """(raw signals, the accepted signals, the paper accounts)."""
    rules = STRATEGIES[workload]
    slots = rules * (1 if workload == "W1" else INSTRUMENTS)
    zeros = [np.zeros(slots, kind) for kind in (np.int64, np.float64, np.int64)]
    kinds = (np.float64, np.float64, np.float64, np.int64, np.int64, np.int64)
    accounts = Accounts(*zeros, *(np.zeros(rules, kind) for kind in kinds))
    recent = Recent(
        np.zeros((slots, RING), np.int64),
        np.zeros((slots, RING), np.int64),
        np.zeros(slots, np.int64),
        np.zeros(slots, np.int64),
    )
    room = len(ticks.price) * (1 if workload == "W1" else 2) + 1_000
    kinds = (np.int64, np.int64, np.int64, np.int8, np.float64, np.int64, np.float64, np.int64, np.int64)
    kept = Kept(*(np.empty(room, kind) for kind in kinds))
    costs = (0.0, 0.0)
    if workload == "W1":
        hits, many = full_w1(ticks, LOOKBACK, THRESHOLD, accounts, recent, kept, WINDOW_NS, QUANTITY, costs)
    else:
        windows, rows = np.array(WINDOWS), INSTRUMENTS
        grids = np.zeros((rows, windows.size)), np.zeros((rows, windows.size))
        market = (
            np.zeros((rows, windows[-1])),
            np.zeros(rows, np.int64),
            np.zeros(rows),
            np.zeros(rows, np.int64),
            *grids,
        )
        orders = np.zeros((rows, rules), np.int64), np.zeros((rows, rules), np.int64), np.zeros(rows, np.int64)
        hits, many = full_w2(
            ticks, windows, rows, THRESHOLD, Z_ENTRY, market, orders, accounts, recent, kept, WINDOW_NS, QUANTITY, costs
        )
    if hits < 0:
        raise RuntimeError("this loop takes no bad ticks")
    return hits, Kept(*(column[:many] for column in kept)), accounts


def digest_of(workload: str, kept: Kept) -> str:
    """A fingerprint of all signals' ids in their order, as anystrat would give them."""
    from anystrat.domain.signal_id import id_bases, mixed_columns

    bases = np.array([id_bases(row["id"], "paper") for row in rows_of(workload)], np.uint64)
    columns = [kept.token, kept.side, kept.bucket, kept.epoch]
    ids = mixed_columns(bases[kept.strategy], columns)
    return hashlib.sha256(ids.astype(">u8").tobytes()).hexdigest()[:16]


def main() -> None:
    asked = arguments("hand-written loops", ["raw", "full"])
    import numba

    workload, ticks = asked.workload, ticks_of(asked.workload, asked.ticks)
    few = ticks_of(workload, 1_000)
    facts: dict[str, Any] = {}
    if asked.variant == "raw":
        raw(workload, few)
        wall, cpu, hits = repeated(lambda: raw(workload, ticks))
    else:
        full(workload, few)
        wall, cpu, (hits, kept, accounts) = repeated(lambda: full(workload, ticks))
        facts = {"emitted": len(kept.ts), "digest": digest_of(workload, kept), "cash": float(accounts.cash.sum())}
    emit(version=f"Numba {numba.__version__}", ticks=asked.ticks, wall=wall, cpu=cpu, raw=hits, **facts)


if __name__ == "__main__":
    main()
