"""The result of a backtest: figures, tables and curves, worked out once the last tick is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from anystrat.backtest import statistics
from anystrat.backtest.breakdowns import by_instrument, by_month, calibrated
from anystrat.backtest.figures import Figures, figures_of
from anystrat.backtest.frame import Frame
from anystrat.backtest.page import page_of
from anystrat.backtest.picture import Picture, picture_of
from anystrat.backtest.trades import trades_of
from anystrat.backtest.words import summary_html, summary_text
from anystrat.domain.errors import nearest_name
from anystrat.domain.signal import SIDE_NAME
from anystrat.domain.signal_id import mixed_columns

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    from anystrat.backtest.accounts import Account
    from anystrat.backtest.page.why import Chapter
    from anystrat.backtest.recorder import Recorder
    from anystrat.domain.configuration import InstrumentSpec
    from anystrat.engine.executor import StrategyExecutor

_SIDES: Final = np.array(["", *(SIDE_NAME[code] for code in (1, 2))])


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What the run was made of, for whoever wants to make it again. `inputs` are (what, name, SHA-256)."""

    name: str = "backtest"
    version: str = ""
    rng_seed: int = 0
    inputs: tuple[tuple[str, str, str], ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)


class BacktestResult:
    """What a backtest came to: `.stats`, `.equity`, `.trades`, `.fills`, `.signals`, `.drops`, `.report(path)`.

    `counts` is the run's summary as `anystrat replay --json` prints it. Tables are `Frame`s: columns by name, which become
    data frames of pandas, Polars or Arrow on request.
    """

    def __init__(
        self,
        recorder: Recorder,
        counts: Mapping[str, Any],
        facts: RunFacts | None = None,
        *,
        periods: int | None = None,
    ) -> None:
        self.counts = counts
        self.facts = facts or RunFacts()
        self._recorder = recorder
        self._engine = recorder.engine
        self._multiplier = recorder.accounts.multiplier_of_slot
        self.accounts: list[Account] = recorder.accounts.accounts()
        self.periods = periods or statistics.periods_of(self.portfolio.days)

    # -- who is who -----------------------------------------------------------------------------------------------

    @property
    def portfolio(self) -> Account:
        """The sum of all strategies' accounts."""
        return self.accounts[-2]

    @property
    def buy_and_hold(self) -> Account:
        """The portfolio's cash in equal shares of every watched instrument, bought at its first tick, at no cost."""
        return self.accounts[-1]

    @property
    def executors(self) -> list[StrategyExecutor]:
        """The engine's executors, in the order of rows and brokers."""
        return self._engine.executors

    def executors_of(self, account: str) -> list[StrategyExecutor]:
        """The executors whose account has this name."""
        of = self._recorder.accounts.account_of_executor
        return [one for one in self.executors if self.accounts[of[one.row]].name == account]

    @property
    def tokens(self) -> list[int]:
        """The watched instruments."""
        return self._engine.tokens

    def spec(self, token: int) -> InstrumentSpec | None:
        """What the configuration says of an instrument."""
        return self._engine.instruments.get(token)

    def symbol(self, token: int) -> str:
        """An instrument's name for people: its symbol, or its number."""
        spec = self.spec(token)
        return (spec.symbol if spec is not None else "") or str(token)

    def account_of_slot(self) -> NDArray[np.int64]:
        """The account that each slot belongs to."""
        books = self._recorder.accounts
        found: NDArray[np.int64] = books.account_of_executor[books.executor_of_slot]
        return found

    @cached_property
    def slot_facts(self) -> dict[str, NDArray[Any]]:
        """Whose each slot is: strategy_id, broker, instrument_token, symbol."""
        books = self._recorder.accounts
        owners = [self.executors[row] for row in books.executor_of_slot.tolist()]
        tokens = np.array(self.tokens, np.int64)[books.instrument_of_slot] if owners else np.zeros(0, np.int64)
        return {
            "strategy_id": np.array([one.strategy_id for one in owners], np.str_),
            "broker": np.array([one.broker for one in owners], np.str_),
            "instrument_token": tokens,
            "symbol": np.array([self.symbol(token) for token in tokens.tolist()], np.str_),
        }

    # -- figures --------------------------------------------------------------------------------------------------

    @cached_property
    def stats(self) -> Figures:
        """The portfolio in figures."""
        return self.figures_of(len(self.accounts) - 2)

    @cached_property
    def benchmark(self) -> Figures:
        """Buy-and-hold in figures; its trades and costs are none."""
        return self.figures_of(len(self.accounts) - 1)

    @cached_property
    def strategies(self) -> dict[str, Figures]:
        """Each strategy's own account in figures, by its name (`id`, or `id on broker` where that is not paper)."""
        return {account.name: self.figures_of(a) for a, account in enumerate(self.accounts[:-2])}

    def figures_of(self, a: int) -> Figures:
        """The figures of account `a`."""
        return figures_of(self.accounts[a], self.periods)

    @cached_property
    def _fills(self) -> dict[str, NDArray[Any]]:
        return self._recorder.fills()

    @cached_property
    def _signals(self) -> dict[str, NDArray[Any]]:
        return self._recorder.signals()

    @cached_property
    def _trades(self) -> NDArray[Any]:
        slot, quantity, price, fee = (self._fills[name] for name in ("slot", "quantity", "price", "fee"))
        return trades_of(slot, quantity, price, fee, self._multiplier, self._recorder.compiler)[0]

    @cached_property
    def _traded(self) -> NDArray[np.float64]:
        fills = self._fills
        traded: NDArray[np.float64] = np.abs(fills["quantity"]) * fills["price"] * self._multiplier[fills["slot"]]
        return traded

    @cached_property
    def _slippage(self) -> NDArray[np.float64]:
        """What each fill was worse than its tick, in money."""
        fills = self._fills
        worse = fills["quantity"] * (fills["price"] - fills["tick_price"])
        return worse * self._multiplier[fills["slot"]]  # type: ignore[no-any-return]  # an array

    @cached_property
    def instruments(self) -> Frame:
        """A row an instrument: what was done there by all strategies together, and what holding it came to."""
        books = self._recorder.accounts
        symbols = [self.symbol(token) for token in self.tokens]
        return by_instrument(books, symbols, self._fills, self._trades, self._traded, self._slippage)

    # -- tables ---------------------------------------------------------------------------------------------------

    @cached_property
    def equity(self) -> Frame:
        """Every account's curve: `account`, `ts_ns`, `equity` (last), `low` and `high` and deepest `drawdown` of its bucket."""
        curves = [account.curve for account in self.accounts]
        names = np.array([account.name for account in self.accounts], np.str_)
        return Frame(
            {
                "account": np.repeat(names, [len(curve.ts) for curve in curves]),
                **{
                    name: np.concatenate([getattr(curve, part) for curve in curves])
                    for name, part in (
                        ("ts_ns", "ts"), ("equity", "last"), ("low", "low"), ("high", "high"), ("drawdown", "worst")
                    )
                },
            }
        )  # fmt: skip

    @cached_property
    def daily(self) -> Frame:
        """The end of every UTC day with a tick: `ts_ns` (its midnight), and each account's worth by name."""
        days = self.portfolio.days * statistics.DAY_NS
        return Frame({"ts_ns": days, **{account.name: account.marks for account in self.accounts}})

    @cached_property
    def monthly(self) -> Frame:
        """Returns by month: `month` (text), `portfolio`, `buy_and_hold`, from the last daily mark of each."""
        return by_month(self.portfolio, self.buy_and_hold)

    @cached_property
    def _signal_of_fill(self) -> NDArray[np.int64]:
        """Each fill's signal: orders of a slot are filled in the order of their signals."""
        at = np.empty(len(self._fills["slot"]), np.int64)
        mine, theirs = (np.argsort(each["slot"], kind="stable") for each in (self._fills, self._signals))
        slots = np.arange(len(self._multiplier))
        fills, signals = (
            np.searchsorted(each["slot"][order], slots)
            for each, order in ((self._fills, mine), (self._signals, theirs))
        )
        slot = self._fills["slot"][mine]
        at[mine] = theirs[signals[slot] + np.arange(len(mine)) - fills[slot]]
        return at

    def _ids(self) -> NDArray[np.str_]:
        books, signals = self._recorder.accounts, self._signals
        executor = books.executor_of_slot[signals["slot"]]
        if not len(executor):
            return np.zeros(0, np.str_)
        bases = np.array([one.id_bases for one in self.executors], np.uint64)
        windows = np.array([one.risk.dedupe_window_ns for one in self.executors], np.int64)
        token = self.slot_facts["instrument_token"][signals["slot"]]
        epoch = signals["ts_ns"] // windows[executor]
        halves = mixed_columns(bases[executor], [token, signals["side"], signals["bucket"], epoch])
        return np.array([f"{high:016x}{low:016x}" for high, low in halves.tolist()], np.str_)

    def _whose(self, slot: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        return {name: column[slot] for name, column in self.slot_facts.items()}

    @cached_property
    def signals(self) -> Frame:
        """Every emitted signal, with its id and the fill that came of it; `filled_ts_ns` is 0 while the order waits."""
        signals, fills = self._signals, self._fills
        filled, price = np.zeros(len(signals["slot"]), np.int64), np.full(len(signals["slot"]), np.nan)
        filled[self._signal_of_fill] = fills["ts_ns"]
        price[self._signal_of_fill] = fills["price"]
        return Frame(
            {
                "ts_ns": signals["ts_ns"],
                **self._whose(signals["slot"]),
                "signal_type": _SIDES[signals["side"]],
                "confidence": signals["confidence"],
                "quantity": signals["quantity"],
                "price": signals["price"],
                "signal_id": self._ids(),
                "filled_ts_ns": filled,
                "fill_price": price,
            }
        )

    @cached_property
    def fills(self) -> Frame:
        """Every paper fill; `quantity` is signed, `realised` as the engine says, `slippage` is what it cost in money."""
        fills = self._fills
        return Frame(
            {
                "ts_ns": fills["ts_ns"],
                **self._whose(fills["slot"]),
                "quantity": fills["quantity"],
                "price": fills["price"],
                "tick_price": fills["tick_price"],
                "fee": fills["fee"],
                "slippage": self._slippage,
                "realised": fills["realised"],
                "position": fills["position"],
                "average_price": fills["average"],
                "round_trip": fills["round_trip"],
                "confidence": self._signals["confidence"][self._signal_of_fill],
            }
        )

    @cached_property
    def trades(self) -> Frame:
        """Every round trip, in the order in which they ended; `profit` is net of all its fees."""
        done, fills = self._trades, self._fills
        opened, closed = fills["ts_ns"][done["opened"]], fills["ts_ns"][done["closed"]]
        return Frame(
            {
                "opened_ts_ns": opened,
                "closed_ts_ns": closed,
                "duration_ns": closed - opened,
                **self._whose(done["slot"]),
                "side": np.where(done["side"] > 0, "LONG", "SHORT"),
                "quantity": done["quantity"],
                "entry_price": done["entry"],
                "exit_price": done["exit"],
                "profit": done["profit"],
                "fees": done["fees"],
                "profit_share": np.divide(
                    done["profit"], done["value"], out=np.zeros(len(done)), where=done["value"] > 0.0
                ),
                "confidence": self._signals["confidence"][self._signal_of_fill[done["opened"]]],
            }
        )

    @cached_property
    def drops(self) -> Frame:
        """Dropped signals counted by time: `ts_ns` is the beginning of a bucket of `duration_ns`."""
        rows = self._recorder.drops.rows()
        reasons = np.array(self._recorder.drops.reasons, np.str_)
        return Frame(
            {
                "ts_ns": rows.ts_ns,
                "duration_ns": np.full(len(rows.ts_ns), self._recorder.drops.bucket_ns),
                **self._whose(rows.slot),
                "reason": reasons[rows.reason],
                "count": rows.dropped,
            }
        )

    @cached_property
    def calibration(self) -> Frame:
        """Of ML and hybrid strategies: did trades that were opened with a confidence win as often as it said?

        A row an account and tenth of confidence: `low` and `high`, how many `trades`, their mean `confidence`, the
        share that `won` after all costs, and the 95 % interval of that share.
        """
        whose, trades = self.account_of_slot()[self._trades["slot"]], self.trades
        of = self._recorder.accounts.account_of_executor
        learned = sorted({of[one.row].item() for one in self.executors if one.kind != "rules"})
        names = [account.name for account in self.accounts]
        return calibrated(learned, names, whose, trades["confidence"], trades["profit"])

    @cached_property
    def agreement(self) -> dict[str, NDArray[np.int64]]:
        """Of hybrids, by account: on how many ticks rules (row) and model (column) said none, BUY, SELL; shape (3, 3)."""
        found: dict[str, NDArray[np.int64]] = {}
        for one in self.executors:
            counted = getattr(one.processor, "agreement", None)
            if counted is not None:
                name = self.accounts[self._recorder.accounts.account_of_executor[one.row]].name
                found[name] = found.get(name, 0) + counted
        return found

    # -- for people and files -------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """One JSON-able object: the counts of the run and all figures."""
        strategies: dict[str, Any] = self.counts.get("strategies", {})
        return {
            **self.counts,
            "first_ts_ns": self._recorder.accounts.first_ts,
            "last_ts_ns": self._recorder.accounts.now if self._recorder.accounts.began else 0,
            "portfolio": self.stats.to_dict(),
            "buy_and_hold": self.benchmark.to_dict(),
            "accounts": {name: figures.to_dict() for name, figures in self.strategies.items()},
            "strategies": strategies,
            "by_instrument": rows_of(self.instruments),
            "by_month": rows_of(self.monthly),
            "calibration": rows_of(self.calibration),
            "agreement": {name: counted.tolist() for name, counted in self.agreement.items()},
            "inputs": [dict(zip(("what", "name", "sha256"), each, strict=True)) for each in self.facts.inputs],
        }

    def prices(self, token: int) -> Any:
        """The curve of an instrument's prices (`Curve`)."""
        return self._recorder.accounts.prices(self.tokens.index(token))

    def report(self, path: str | os.PathLike[str], why: Sequence[Chapter] = ()) -> Path:
        """Write the report as one HTML file that needs nothing else; where it is. Raises `OSError`.

        `why` are explanations for it, as `anystrat.bootstrap.analysing.why` makes them.
        """
        target = Path(path)
        target.write_text(page_of(self, why), encoding="utf-8")
        return target

    def plot(self, account: str = "portfolio") -> Picture:
        """An account over time beside buy-and-hold, with its drawdown: a notebook shows it. Raises `KeyError` for a name."""
        known = {each.name: each for each in (*self.accounts[:-2], self.portfolio)}
        if account not in known:
            nearest = nearest_name(account, known)
            hint = f"; did you mean {nearest!r}?" if nearest else ""
            raise KeyError(f"there is no account {account!r}{hint} (there are: {', '.join(known)})")
        return picture_of(known[account], self.buy_and_hold)

    def __repr__(self) -> str:
        return summary_text(self)

    def _repr_html_(self) -> str:
        return summary_html(self)


def rows_of(frame: Frame) -> list[dict[str, Any]]:
    """A frame's rows as plain mappings."""
    columns = {name: column.tolist() for name, column in frame.items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
