"""NautilusTrader's BacktestEngine: a Strategy object for each rule, called on every trade tick; no orders are sent."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import nautilus_trader
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig, RiskEngineConfig, StrategyConfig
from nautilus_trader.model.currencies import BTC, USDT
from nautilus_trader.model.data import TradeTick
from nautilus_trader.model.enums import AccountType, AggressorSide, OmsType
from nautilus_trader.model.identifiers import InstrumentId, Symbol, TradeId, Venue
from nautilus_trader.model.instruments import CurrencyPair
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.trading.strategy import Strategy

from benchmarks.timing import Clock, arguments, emit
from benchmarks.workloads import INSTRUMENTS, STRATEGIES, python_rules, ticks_of

VENUE = Venue("SIM")
signals = [0]


class OneRule(Strategy):
    """The rule at one place of the workload's rows, with a state for each instrument."""

    def __init__(self, workload: str, place: int, instruments: list[InstrumentId]) -> None:
        super().__init__(StrategyConfig(strategy_id=f"S-{place}", order_id_tag=str(place)))
        self.instruments = instruments
        self.update = {each: python_rules(workload)[place].update for each in instruments}

    def on_start(self) -> None:
        for each in self.instruments:
            self.subscribe_trade_ticks(each)

    def on_trade_tick(self, tick: TradeTick) -> None:
        if self.update[tick.instrument_id](tick.price.as_double()):
            signals[0] += 1


def instrument(number: int) -> CurrencyPair:
    symbol = Symbol(f"I{number:03d}")
    return CurrencyPair(
        instrument_id=InstrumentId(symbol, VENUE),
        raw_symbol=symbol,
        base_currency=BTC,
        quote_currency=USDT,
        price_precision=4,
        size_precision=0,
        price_increment=Price(0.0001, 4),
        size_increment=Quantity(1, 0),
        lot_size=None,
        max_quantity=None,
        min_quantity=None,
        max_notional=None,
        min_notional=None,
        max_price=None,
        min_price=None,
        margin_init=Decimal("0.01"),
        margin_maint=Decimal("0.01"),
        maker_fee=Decimal(0),
        taker_fee=Decimal(0),
        ts_event=0,
        ts_init=0,
    )


def engine(workload: str, count: int) -> BacktestEngine:
    config = BacktestEngineConfig(
        logging=LoggingConfig(bypass_logging=True), run_analysis=False, risk_engine=RiskEngineConfig(bypass=True)
    )
    made = BacktestEngine(config)
    made.add_venue(
        venue=VENUE,
        oms_type=OmsType.NETTING,
        account_type=AccountType.MARGIN,
        base_currency=USDT,
        starting_balances=[Money(1_000_000, USDT)],
        default_leverage=Decimal(10),
    )
    specs = [instrument(number) for number in range(1 if workload == "W1" else INSTRUMENTS)]
    for spec in specs:
        made.add_instrument(spec)
    made.add_data(trades(workload, count, [spec.id for spec in specs]))
    for place in range(STRATEGIES[workload]):
        made.add_strategy(OneRule(workload, place, [spec.id for spec in specs]))
    return made


def trades(workload: str, count: int, ids: list[InstrumentId]) -> list[Any]:
    ticks = ticks_of(workload, count)
    one, side, trade = Quantity(1, 0), AggressorSide.BUYER, TradeId("1")
    columns = zip(ticks.token.tolist(), ticks.price.tolist(), ticks.ts_ns.tolist(), strict=True)
    return [TradeTick(ids[token], Price(price, 4), one, side, trade, at, at) for token, price, at in columns]


def run(workload: str, count: int) -> Clock:
    made = engine(workload, count)
    signals[0] = 0
    with Clock() as clock:
        made.run()
    made.dispose()
    return clock


def main() -> None:
    asked = arguments("NautilusTrader", ["tick"])
    run(asked.workload, 2_000)
    clock = run(asked.workload, asked.ticks)
    emit(version=nautilus_trader.__version__, ticks=asked.ticks, wall=clock.wall, cpu=clock.cpu, raw=signals[0])


main()
