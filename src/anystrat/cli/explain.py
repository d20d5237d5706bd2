"""`anystrat explain`: why a strategy fired on a tick, or did not, with every number that decided."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from anystrat.cli.options import part as part_option
from anystrat.cli.recordings import opened, recording, refusals, say_left_out
from anystrat.cli.replay import BLOCK_ROWS, ManyFiles, engines_of
from anystrat.cli.times import Moment

if TYPE_CHECKING:
    from anystrat.analysis.explaining.explanation import Explanation
    from anystrat.analysis.explaining.moments import Explained, Moments
    from anystrat.analysis.explaining.overview import Overview
    from anystrat.bootstrap.live_state import LiveState
    from anystrat.bootstrap.recording import RecordedRun
    from anystrat.domain.configuration import Configuration
    from anystrat.domain.inputs import Input
    from anystrat.engine.engine import Engine

#: Up to so many ticks are shown in full, more in a line each.
_IN_FULL: Final = 3
_MOST: Final = 50
#: So long the next tick of a run is waited for, and looked for so often.
_LIVE_SEC: Final = 30.0
_LOOK_SEC: Final = 0.25
SCHEMA_VERSION: Final = 1


@click.command("explain", cls=ManyFiles, short_help="Say why a strategy fired on a tick, or did not.")
@recording
@click.option("--strategy", metavar="ID", help="The strategy; can be left out where there is one.")
@click.option("--instrument", type=int, metavar="TOKEN", help="Only this instrument.")
@click.option("--broker", metavar="NAME", help="The strategy's executor on this broker; else its first.")
@click.option("--at", type=Moment(), help="The last tick at or before this time (UTC).")
@click.option("--from", "since", type=Moment(), help="Ticks from this time on …")
@click.option("--to", "until", type=Moment(), help="… up to this one.")
@click.option("--last", type=click.IntRange(1), metavar="N", help="The last N of the ticks that are meant.")
@click.option("--drops", metavar="REASON", help="Ticks on which a signal was dropped for this reason.")
@click.option(
    "--most", type=click.IntRange(1), default=_MOST, show_default=True, metavar="N", help="Explain at most so many."
)
@click.option("--live", is_flag=True, help="Ticks of the run that goes on, or went last, from its journal.")
@part_option
@click.pass_context
def command(
    context: click.Context,
    config: Path,
    ticks: tuple[Path, ...],
    strategy: str | None,
    instrument: int | None,
    broker: str | None,
    at: int | None,
    since: int | None,
    until: int | None,
    last: int | None,
    drops: str | None,
    most: int,
    part: int | None,
    *,
    live: bool,
    as_json: bool,
) -> None:
    """Say what a strategy measured on a tick, what it said, which check let it pass or refused, and by how much.

    Without a time, an overview of the whole recording: how often it was asked, what refused its signals, and the ticks
    on which it came nearest to one.

    With --live, the last tick of a run that goes on, or that last ended, and with a time or --last those that are meant. It reads the
    run's journal, from the last checkpoint on, and asks nothing of the service.

    \b
    anystrat explain --ticks monday.csv --strategy rules
    anystrat explain --ticks monday.csv --strategy rules --at 2024-01-02T09:16:00Z
    anystrat explain --ticks monday.csv --strategy rules --drops cooldown --last 3
    anystrat explain live.yaml --live --strategy mom
    """  # noqa: D301  click takes a real backspace as "keep these lines"
    from anystrat.analysis.explaining.moments import Moments
    from anystrat.bootstrap.recording import open_recording

    if at is not None and (since is not None or until is not None):
        raise click.UsageError("--at means one moment, --from and --to a range: keep one of them.")
    if since is not None and until is not None and until < since:
        raise click.UsageError("--to is before --from.")
    if part is not None and not live:
        raise click.UsageError("--part goes with --live: a recording is of one run.")
    if live:
        if ticks:
            raise click.UsageError("--live reads the run's journal, --ticks a recording: keep one of them.")
        moments = Moments(at, since, until, last, drops)
        with refusals(context, as_json=as_json):
            _live(config, part, moments, strategy, instrument, broker, most, as_json=as_json)
        return
    with refusals(context, as_json=as_json):
        found = opened(config, ticks)
        recorded = open_recording(ticks[0]) if len(ticks) == 1 else None
        engines = engines_of(found.configured, found.wiring, recorded)
    say_left_out(found.wiring)
    if drops is not None:
        _known_reason(drops, found.configured)
    named = strategy or _only(engines)
    shard = _shard_of(engines, named, instrument)
    inputs = _Recorded(recorded, shard) if recorded is not None else found.reader
    moments = Moments(at, since, until, last, drops)
    if moments == Moments():
        _overview(found.symbols, engines[shard], inputs, named, instrument, broker, as_json=as_json)
    else:
        _moments(found.symbols, engines[shard], inputs, moments, named, instrument, broker, most, as_json=as_json)


@dataclass(frozen=True, slots=True)
class _Recorded:
    """What a shard of a recording took, events included, as often as it is asked for."""

    run: RecordedRun
    shard: int

    def __iter__(self) -> Iterator[Input]:
        return self.run.inputs(self.shard, block_rows=BLOCK_ROWS)


def _live(
    config: Path,
    part: int | None,
    moments: Moments,
    strategy: str | None,
    instrument: int | None,
    broker: str | None,
    most: int,
    *,
    as_json: bool,
) -> None:
    """Explain ticks of a run from its journal; where no moment is named, the last tick, or the next one."""
    from anystrat import bootstrap
    from anystrat.analysis.explaining.moments import Moments, executors_of
    from anystrat.bootstrap.live_state import live_state
    from anystrat.cli.journal_argument import configured_journal
    from anystrat.config import load_configuration

    place = configured_journal(config, part)
    wiring = bootstrap.default_wiring()
    configured = load_configuration(config, wiring.catalog)
    if moments.drops is not None:
        _known_reason(moments.drops, configured)
    state = live_state(configured, wiring, place, part)
    say_left_out(wiring)
    named = strategy or _only(state.engines)
    shard = _shard_of(state.engines, named, instrument)
    engine = state.engines[shard]
    tokens = {token for one in executors_of(engine, named, instrument, broker) for token in one.tokens}
    tokens &= tokens if instrument is None else {instrument}
    if moments == Moments():
        inputs, moments = _till_a_tick(state, shard, tokens, named), Moments(last=1)
    else:
        whole = state.from_the_beginning(shard)
        inputs = state.since_checkpoint(shard) if whole is None else whole
    symbols = {spec.token: spec.symbol for spec in configured.instruments if spec.symbol}
    _moments(symbols, engine, inputs, moments, named, instrument, broker, most, as_json=as_json)


def _till_a_tick(state: LiveState, shard: int, tokens: set[int], strategy: str) -> list[Input]:
    """What has one of these instruments' ticks at its end, the next one where there is none yet."""
    from anystrat.analysis.explaining.tick import NothingToExplain

    deadline = time.monotonic() + _LIVE_SEC
    while True:
        inputs = state.since_checkpoint(shard)
        if _has_a_tick(inputs, tokens):
            return inputs
        if not state.runs():
            whole = state.from_the_beginning(shard)
            if whole is not None and _has_a_tick(whole, tokens):
                return whole
            raise NothingToExplain(f"no tick of {strategy!r} is kept, and the run does not go on")
        if time.monotonic() >= deadline:
            raise NothingToExplain(
                f"no tick of {strategy!r} has come within {_LIVE_SEC:.0f} s, nor since the last checkpoint of its shard"
            )
        time.sleep(_LOOK_SEC)


def _has_a_tick(inputs: Iterable[Input], tokens: set[int]) -> bool:
    from anystrat.domain.columns import TickColumns

    return any(
        not tokens.isdisjoint(each.instrument_token.tolist()) for each in inputs if isinstance(each, TickColumns)
    )


def _shard_of(engines: Sequence[Engine], strategy: str, instrument: int | None) -> int:
    """The shard of a recording that has the strategy (and instrument); the first where none has: it says who is there."""
    for shard, engine in enumerate(engines):
        for one in engine.executors:
            if one.strategy_id == strategy and (instrument is None or instrument in one.slots):
                return shard
    return 0


def _overview(
    symbols: dict[int, str],
    engine: Engine,
    inputs: Iterable[Input],
    strategy: str,
    instrument: int | None,
    broker: str | None,
    *,
    as_json: bool,
) -> None:
    from anystrat.analysis.explaining.overview import overview

    told = overview(engine, inputs, strategy=strategy, instrument=instrument, broker=broker)
    if as_json:
        _print("overview", told)
    else:
        _show_overview(told, symbols)


def _moments(
    symbols: dict[int, str],
    engine: Engine,
    inputs: Iterable[Input],
    moments: Moments,
    strategy: str,
    instrument: int | None,
    broker: str | None,
    most: int,
    *,
    as_json: bool,
) -> None:
    from anystrat.analysis.explaining.moments import explain

    told = explain(engine, inputs, moments, strategy=strategy, instrument=instrument, broker=broker, most=most)
    if as_json:
        _print("explanations", told.explanations, meant=told.meant)
    elif not told.explanations:
        _nothing(moments)
    elif len(told.explanations) <= _IN_FULL:
        for place, each in enumerate(told.explanations):
            _show_page(each, symbols, first=place == 0)
    else:
        _show_lines(told, symbols)


def _only(engines: Sequence[Engine]) -> str:
    ids = list(dict.fromkeys(one.strategy_id for engine in engines for one in engine.executors))
    if len(ids) == 1:
        return ids[0]
    if not ids:
        raise click.UsageError("No strategy takes part: there is nothing to explain.")
    raise click.UsageError(f"Name a strategy with --strategy: {', '.join(ids)}.")


def _known_reason(reason: str, configured: Configuration) -> None:
    from anystrat.domain.account import AccountReason
    from anystrat.domain.errors import nearest_name
    from anystrat.domain.outcomes import Reason

    known = [each.value for each in (*Reason, *AccountReason)]
    own = any(row.validator != "standard" for row in configured.strategies)
    if reason not in known and not own:
        nearest = nearest_name(reason, known)
        hint = f" Did you mean {nearest!r}?" if nearest else f" There are: {', '.join(known)}."
        raise click.UsageError(f"There is no drop reason {reason!r}.{hint}")


def _print(key: str, value: Any, **more: Any) -> None:
    import msgspec

    from anystrat.cli.screen import print_json

    print_json({"schema_version": SCHEMA_VERSION, **more, key: msgspec.to_builtins(value)})


def _show_page(told: Explanation, symbols: dict[int, str], *, first: bool) -> None:
    from anystrat.analysis.explaining.telling import headline, mark, page
    from anystrat.cli.screen import heading, line, pairs

    if not first:
        line()
    heading(headline(told, symbols))
    line(f"{mark(told)}: {told.because}")
    line()
    pairs(page(told))


def _show_lines(told: Explained, symbols: dict[int, str]) -> None:
    from anystrat.analysis.explaining.numbers import moment
    from anystrat.cli.screen import line, pairs

    pairs([(moment(each.ts_ns), _in_a_line(each, symbols)) for each in told.explanations])
    line()
    if told.meant > len(told.explanations):
        line(f"The last {len(told.explanations):,} of {told.meant:,} ticks; --most shows more.")
    line(f"One of them in full: --at {moment(told.explanations[-1].ts_ns)}")


def _in_a_line(told: Explanation, symbols: dict[int, str]) -> str:
    from anystrat.analysis.explaining.telling import WORDS

    name = symbols.get(told.instrument_token) or str(told.instrument_token)
    return f"{name} {told.price} {WORDS[told.ending]}: {told.because}"


def _show_overview(told: Overview, symbols: dict[int, str]) -> None:
    from anystrat.analysis.explaining.numbers import moment
    from anystrat.analysis.explaining.telling import named, outline
    from anystrat.cli.screen import heading, line, pairs

    heading(f"{told.strategy_id} on {told.broker}, {told.strategy_type}")
    rows = outline(told, symbols)
    width = max(len(count) for count, _ in rows)
    pairs([(count.rjust(width), text) for count, text in rows])
    if told.nearest:
        line()
        heading("Nearest to a signal, of the ticks without one")
        pairs(
            [(moment(miss.ts_ns), f"{named(miss.instrument_token, symbols)}: {miss.because}") for miss in told.nearest]
        )
    line()
    asked = shlex.quote(told.strategy_id)
    if told.nearest:
        which = f" --instrument {told.nearest[0].instrument_token}" if len(told.instruments) > 1 else ""
        line(f"A tick in full: --strategy {asked}{which} --at {moment(told.nearest[0].ts_ns)}")
    if told.drops:
        line(f"Drops in full: --strategy {asked} --drops {next(iter(told.drops))} --last 3")


def _nothing(moments: Moments) -> None:
    from anystrat.cli.screen import line

    if moments.drops is not None:
        line(f"No signal was dropped for {moments.drops} there.")
    else:
        line("There is no tick of the strategy's instruments there.")
