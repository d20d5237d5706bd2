"""Fills the reference pages from the code, each time that the documentation is built: they cannot say anything else.

MkDocs calls `on_files`. A page under `docs/reference/` that is not in the directory is one of `PAGES` here.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

import anystrat
from anystrat.__main__ import main
from anystrat.adapters.tick_files import source as tick_columns
from anystrat.cli.app import COMMANDS, cli
from anystrat.config.fields import fields_of
from anystrat.config.rows import RowShape
from anystrat.domain.account import AccountLimits, AccountReason
from anystrat.domain.cluster import ClusterSettings
from anystrat.domain.configuration import (
    ControlSettings,
    DeliveryOptions,
    FeedSettings,
    InstrumentSpec,
    LogSettings,
    MetricsSettings,
    RunSettings,
    TracingSettings,
)
from anystrat.domain.isolation import Isolation
from anystrat.domain.lifecycle import State, Trigger, can, next_state
from anystrat.domain.notifying import NotifyRules
from anystrat.domain.outcomes import Reason, TickDrop
from anystrat.domain.sessions import SessionOverride
from anystrat.observability.metric_table import METRICS

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).resolve().parent.parent
_HUGE = re.compile(r"≤ \d{7,}")
NOTE = "<!-- Filled by docs/generate.py from the code. -->\n\n"

#: Drop -> what it means, and the setting that turns its check on; a test asks for every one of them.
DROPS = {
    Reason.KILLED: ("The kill switch is on.", "an operator's `KILL`"),
    Reason.SESSION_CLOSED: (
        "The exchange is not in its regular session.",
        "an instrument's `calendar`; `risk.allow_sessions` lets more pass",
    ),
    Reason.HALTED: ("The tick says that trading is halted.", "the tick's `halted`"),
    Reason.AUCTION: ("The tick belongs to an auction.", "the tick's `auction`"),
    Reason.STALE: ("The tick was too old when it arrived. Live only, so never in a replay.", "`risk.max_tick_age_sec`"),
    Reason.INVALID_CONFIDENCE: ("The confidence is outside 0 to 1, or NaN.", "always on"),
    Reason.INVALID_QUANTITY: (
        "After sizing, the quantity is 0 or below, or over the maximum.",
        "always on; `risk.max_quantity`",
    ),
    Reason.INVALID_PRICE: ("The signal's price is 0 or below, or no number.", "always on"),
    Reason.BELOW_MIN_CONFIDENCE: ("The confidence is too low.", "`risk.min_confidence`"),
    Reason.PRICE_BAND: ("The price is too far from the minute's open.", "`risk.band_pct`"),
    Reason.SLIPPAGE: ("The tick's price is too far from the signal's reference price.", "`risk.slippage_budget`"),
    Reason.POSITION_GUARD: ("The position would flip sides too soon after its last change.", "`risk.min_flip_sec`"),
    Reason.POSITION_LIMIT: (
        "The position would be too large, or below zero for a long-only strategy.",
        "`max_position_size`, `risk.long_only`",
    ),
    Reason.EXPOSURE: ("The exposure over all instruments would be too large.", "`risk.max_exposure`"),
    Reason.CIRCUIT_OPEN: (
        "Too many losing fills in a row. The strategy is paused as well.",
        "`risk.max_loss_streak`, `risk.resume_after_sec`",
    ),
    Reason.COOLDOWN: ("Too soon after the instrument's last signal.", "`risk.cooldown_sec`"),
    Reason.DUPLICATE: (
        "The same side at the same price bucket was emitted just now.",
        "always on; `risk.dedupe_window_sec`, `risk.price_bucket`",
    ),
    Reason.MIN_INTERVAL: (
        "Too soon after the strategy's last signal, on any instrument.",
        "`risk.min_signal_interval_ms`",
    ),
    Reason.RATE_LIMITED: (
        "As many signals as allowed were emitted within the last 60 seconds.",
        "`risk.max_signals_per_min`, `risk.pause_on_throttle`",
    ),
}
#: The same for the account's limits.
ACCOUNT_DROPS = {
    AccountReason.REDUCE_ONLY: ("Only what reduces a position may pass.", "`account.reduce_only`"),
    AccountReason.GROSS_EXPOSURE: (
        "The absolute values of all positions would add up to too much.",
        "`max_gross_exposure`",
    ),
    AccountReason.NET_EXPOSURE: ("The sum of all positions would be too far from zero.", "`max_net_exposure`"),
    AccountReason.DAILY_LOSS: (
        "Too much was lost since the UTC day began.",
        "`max_daily_loss`, `account.kill_daily_loss`",
    ),
    AccountReason.ORDER_RATE: (
        "As many signals as allowed were emitted within the last second.",
        "`max_orders_per_sec`",
    ),
    AccountReason.SIGNALS_PER_DAY: ("As many signals as allowed were emitted this UTC day.", "`max_signals_per_day`"),
}
TICK_DROPS = {
    TickDrop.MALFORMED: "The row cannot be decoded: a missing value, text that is no number, a time that does not exist.",
    TickDrop.UNROUTED: "No enabled strategy watches this instrument.",
    TickDrop.BAD_PRICE: "The price is NaN, infinite, zero or below.",
    TickDrop.OUT_OF_ORDER: "The tick is older than the last accepted one of its instrument. An equal time is accepted.",
    TickDrop.QUARANTINED: "The process of a live run died of the tick three times; a replay of its recording leaves it out too.",
}
#: Heading -> the public names below it, in this order.
API = {
    "Run": ("StrategyRunnerService", "StrategyFactory", "open_ticks", "open_signals"),
    "Backtest": ("backtest", "BacktestResult", "Figures", "Frame"),
    "Write a strategy": (
        "rule",
        "StrategyProcessor",
        "History",
        "MarketTick",
        "SignalResult",
        "MLCapable",
        "BatchCapable",
        "SeedAware",
        "DecisionPolicy",
        "SignalValidator",
        "ExecutionContext",
        "PortfolioState",
    ),
    "Register it": (
        "register_strategy",
        "register_policy",
        "register_validator",
        "register_publisher",
        "register_source",
        "register_feature",
    ),
    "What comes out": ("EmittedSignal", "Reason", "State", "StrategyExecutor"),
    "Configuration": ("Configuration", "StrategyConfig", "InstrumentSpec", "PaperCosts", "RiskLimits", "Session"),
    "Ports": ("TickSource", "HistoryProvider", "FeatureStore", "InferenceModel", "SessionClock", "SignalPublisher"),
    "Bring ticks": ("SourceType", "LiveSource", "TickBatch", "SourceNotice", "NoticeKind", "SourceFailed"),
    "Publish": ("PublisherType", "Idempotent", "Reconcilable", "Neither", "Rejected", "OutcomeUnknown"),
    "Engine": ("Engine",),
    "Errors": (
        "AnystratError",
        "ConfigurationError",
        "InvalidTransition",
        "MissingExtra",
        "ModelRefused",
        "SnapshotRefused",
        "StaleHistory",
        "TickFileError",
        "UnknownName",
    ),
}
TESTING = ("check_strategy", "check_policy", "check_feature", "all_checks", "ContractBroken")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages; called by MkDocs."""
    from mkdocs.structure.files import File  # noqa: PLC0415  tests read the pages without MkDocs

    for name, page in PAGES.items():
        files.append(File.generated(config, name, content=NOTE + page()))
    return files


# ---------------------------------------------------------------------------------------------------------- catalogue


def types() -> list[dict[str, Any]]:
    """What `anystrat types --json` says."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = main(["types", "--json"])
    if code:
        raise RuntimeError(f"anystrat types ended with {code}")
    found: list[dict[str, Any]] = json.loads(said.getvalue())["types"]
    return found


def strategies() -> str:
    """Every strategy type, by kind."""
    page = (
        "# Strategies\n\nWhat `strategy_type` can be, and the keys of its `parameters`. Every one also takes "
        "[`risk_multiplier`, `max_position_size` and `risk`](risk.md). The same on a terminal: `anystrat types NAME`.\n"
    )
    titles = {"rules": "Rules", "ml": "Models", "hybrid": "Rules and a model"}
    found = types()
    for kind, title in titles.items():
        page += f"\n## {title}\n{INTRODUCTIONS[kind]}"
        page += "".join(_type(one) for one in found if one["kind"] == kind)
    return page


INTRODUCTIONS = {
    "rules": """
| type | signal | confidence | history |
|---|---|---|---|
| `momentum` | `c = (now - start) / start` over the window; above `threshold` BUY, below `-threshold` SELL | `min(1, 5·abs(c))` | `lookback_periods` |
| `mean_reversion` | z-score of the price in its window; at or below `-z_entry` BUY, at or above `z_entry` SELL; a flat window gives none | `min(1, abs(z) / 3)` | `lookback_periods` |
| `breakout` | above `H·(1 + buffer)` BUY, below `L·(1 - buffer)` SELL; `H` and `L` are the extremes before this tick | `min(1, 0.5 + 50·excess)` | `lookback_periods + 1` |
| `sma_crossover` | BUY on the tick where the fast mean passes the slow one from below, SELL from above; compared exactly | `min(1, 100·abs(fast/slow - 1))` | `slow_periods + 1` |
""",
    "ml": """
An ONNX model gives probabilities for SELL, HOLD and BUY. The largest decides; a tie for the largest, or HOLD, gives no
signal, and so does a probability below `min_conf`. The features and the history come from the model file. The three types
differ in their name and in what `train.py` scripts use by default. See [How to work with models](../how-to/models.md).
""",
    "hybrid": """
A hybrid asks both parts and lets a [policy](policies.md) decide. Its history is the longest that rules, model or policy
need. The ready-made ones take all keys flat; `hybrid` takes any two parts by name:

```yaml
strategies:
  - id: mine
    strategy_type: hybrid
    parameters:
      rules: {type: breakout, lookback_periods: 40}
      ml: {type: ml_momentum, model_path: models/momentum.onnx, min_conf: 0.55}
      policy: {type: sizer, min_scale: 0.25}
    instruments: [1001]
```
""",
}


def policies() -> str:
    """Every policy."""
    page = (
        "# Policies\n\nHow a [hybrid](strategies.md#rules-and-a-model) makes one decision of two. HOLD counts as no signal. A "
        "*merge* is the common side, the mean of both confidences, the larger quantity and the model's price.\n\n"
        "A policy's keys come from the `policy` mapping, then from `parameters`, then from the defaults.\n\n"
        "```yaml\npolicy: guardrail                              # by name\n"
        "policy: {type: guardrail, overbought: 75}     # or with its keys\n```\n\n"
        "| policy | trades |\n|---|---|\n"
        "| `majority` | Same side: the merge. Else the model, if its confidence reaches `min_ml_conf`. Else the rules. |\n"
        "| `confirm` | The merge, where both say the same. |\n"
        "| `sizer` | The rules, in quantity `floor(q·(min_scale + (max_scale - min_scale)·c))`; `c` is the model's confidence "
        "if it agrees, else 0. |\n"
        "| `guardrail` | The model, but no BUY at an RSI of `overbought` or more and no SELL at `oversold` or less. The rules' "
        "metadata may say `overbought: true` or `oversold: true` instead: see [decision 6](../explanation/decisions/006-guardrail-flags.md). |\n"
        "| `threshold_escalation` | The model, if its confidence reaches `min_conf`, or `high_vol_conf` while volatility is over "
        "`vol_threshold`. Volatility is the tick's metadata `volatility`, else `vol_20`. |\n"
        "| `probability_weighted` | The merge, in quantity `floor(max(q_rules, q_model)·c_rules·c_model)`. |\n"
    )
    return page + "".join(_type(one) for one in types() if one["kind"] == "policy")


def features() -> str:
    """Every feature, or family of them."""
    page = (
        "# Features\n\nThe numbers that a model reads, by name. `k` is any positive whole number: `ret_5`, `vol_20`, `z_60`. They "
        "are computed in float64 from the prices in the window and cast to float32 once; the same functions serve training "
        "and inference. Over prices `p`:\n\n| feature | meaning |\n|---|---|\n"
    )
    page += "".join(f"| `{one['name']}` | {one['summary']} |\n" for one in types() if one["kind"] == "feature")
    return page + (
        "\nA feature at a tick is computed once, whoever asks for it. Register your own with "
        "[`anystrat.register_feature`](python.md#register-it), or from a package: "
        "[How to write a plug-in package](../how-to/plugin.md).\n\n"
        "Without the engine, for training:\n\n```python\nimport numpy as np\n\n"
        "from anystrat.strategies.features import FEATURES\n\n"
        'features = FEATURES.feature_set(["ret_5", "z_20"])\n'
        "prices = 100 + np.cumsum(np.random.default_rng(7).normal(size=50))\n"
        "rows = features.matrix(prices)  # float32, a row for each place that has its history\n"
        "assert rows.shape == (50 - features.history_length + 1, 2)\n```\n"
    )


def risk() -> str:
    """What every strategy takes, and the drops that follow from it."""
    common = next(one for one in types() if one["kind"] == "common")
    page = (
        "# Risk settings and drops\n\n## Settings\n\n`max_position_size` and `risk_multiplier` stand directly under "
        "`parameters`, everything else under `parameters.risk`. A check whose setting has no default is off until you "
        "give one. Time is event time: that of the ticks.\n\n"
    )
    page += _parameters(common["parameters"])
    page += (
        "\n## Drops\n\nA signal that fails a check is dropped under the first reason that fits, in this order. "
        "`anystrat replay` counts them; `--drops FILE` writes each one down.\n\n"
        "| reason | meaning | turned on by |\n|---|---|---|\n"
    )
    page += "".join(
        f"| `{reason}` | {meaning} | {setting} |\n" for reason, (meaning, setting) in _in_order(Reason, DROPS)
    )
    page += (
        "\nBetween `stale` and `invalid_confidence` come the [limits of the account](../how-to/account.md), where there are any; "
        "their settings are under `account`, and its `per_instrument` and `per_broker`:\n\n"
        "| reason | meaning | turned on by |\n|---|---|---|\n"
    )
    page += "".join(
        f"| `{reason}` | {meaning} | {setting} |\n"
        for reason, (meaning, setting) in _in_order(AccountReason, ACCOUNT_DROPS)
    )
    page += (
        "\nA [validator of your own](../how-to/validator.md) adds its own labels. A signal that brings the position strictly "
        "nearer to zero, without flipping it, passes `position_limit` and `exposure`.\n\n"
        "## Dropped ticks\n\nA dropped tick touches nothing: no window, no fill, no timer.\n\n| reason | meaning |\n|---|---|\n"
    )
    return page + "".join(f"| `{reason}` | {meaning} |\n" for reason, meaning in _in_order(TickDrop, TICK_DROPS))


def _in_order(kind: Iterable[Any], texts: dict[Any, Any]) -> list[tuple[str, Any]]:
    return [(member.value, texts[member]) for member in kind]


# ------------------------------------------------------------------------------------------------------ configuration


def configuration() -> str:
    """Every key of a configuration file."""
    found = types()
    page = CONFIGURATION
    page += "\n## `run`\n\n" + _shape(RunSettings)
    page += "\n## `instruments`\n\nA list. It may be left out where no check needs it.\n\n" + _shape(InstrumentSpec)
    page += "\n## `sessions`\n\n" + SESSIONS + _shape(SessionOverride)
    page += "\n## `strategies`\n\n" + ROWS + _shape(RowShape)
    page += (
        "| `parameters` | mapping | `{}` | What the type takes: [strategies](strategies.md), and "
        "[`risk_multiplier`, `max_position_size`, `risk`](risk.md). |\n"
        "| `bars` | text or mapping | none | [Bars instead of ticks](../how-to/bars.md): `1m`, `{ticks: 100}`, `{volume: 10000}`. |\n"
        "| `isolate` | `process` or mapping | none | [A process of its own](../how-to/isolate.md) in a live run. |\n"
        "\n### `isolate`\n\n"
    )
    page += _shape(Isolation)
    for kind, title in (("source", "source"), ("broker", "brokers"), ("journal", "journal"), ("history", "history")):
        page += f"\n## `{title}`\n\n{ENDPOINTS[kind]}\n"
        page += "".join(_type(one) for one in found if one["kind"] == kind)
        if kind == "source":
            page += FEED + _shape(FeedSettings)
        if kind == "broker":
            page += DELIVERY + _shape(DeliveryOptions)
    for title, (text, shape) in MONITORING.items():
        page += f"\n## `{title}`\n\n{text}\n\n" + _shape(shape)
    return page


CONFIGURATION = """# Configuration

A YAML 1.2 or JSON file, or a directory of them. Only `strategies` is required. All of it loads or none of it:
`anystrat check` names every mistake with its file, line and path, what was found, what is allowed and the nearest right name.
Relative paths are relative to the file that names them. `anystrat schema` prints the JSON Schema for editors. Top-level
keys that begin with `x-` are left alone: a place for YAML anchors.

```yaml
version: 1
run: {name: demo, rng_seed: 7}
instruments:
  - {token: 1001, symbol: DEMO-A, tick_size: "0.05", lot_size: 25, round_to_lot: true}
source: {type: file, path: ticks.csv}
brokers:
  paper: {type: paper, fee_bps: 2, slippage_bps: 1, fill: next_tick}
strategies:
  - id: first
    strategy_type: momentum
    parameters:
      lookback_periods: 20
      threshold: 0.01
      max_position_size: 200
      risk: {cooldown_sec: 60, min_confidence: 0.05}
    instruments: [1001]
```

!!! note "What reads what"

    `replay` and `backtest` read `run.rng_seed`, `instruments`, `sessions`, `strategies`, the paper costs in `brokers`, and a `source` of type
    `file`. `run` reads all of it.
"""
SESSIONS = """Dates on which an exchange does not keep to its calendar: `overrides`, a mapping of calendars to lists of dates, each with the keys
below. `preopen_minutes`, a mapping too, is how long before the open the pre-open of a calendar begins.
See [How to trade within exchange hours](../how-to/sessions.md).

"""
ROWS = """A list of rows; or `{include: strategies/*.yaml}`, files that hold one row or a list of them; or `{from: "sqlite:///rows.db", table: strategies}`,
[rows of a database table](../how-to/database.md). A list may mix all three. A row makes one executor for each of its
brokers, and with `per_instrument` for each instrument.

"""
ENDPOINTS = {
    "source": "Where ticks come from: [how to choose one](../how-to/sources.md). `replay` takes type `file`, unless `--ticks` names files.",
    "broker": "A mapping of names to brokers. `paper` is there undeclared. A strategy's paper positions are kept whatever its "
    "broker, with the costs of `paper`. `replay` publishes to none: `--signals FILE` writes what would have gone out.",
    "journal": "Where state and accepted signals are kept. Not used by `replay`.",
    "history": "Where windows are filled from, before a new run's first tick: [windows that are full at once](../how-to/sources.md#windows-that-are-full-at-once).",
}
FEED = """
### Silence and gaps

Every type takes these as well, beside its own: [what a feed says of itself](../how-to/sources.md#silence-and-gaps).

"""
DELIVERY = """
### Delivery

Every type but `paper` takes these as well, beside its own: how signals get there, and [what happens when they do not](../how-to/delivery.md).

"""


MONITORING = {
    "account": (
        "What all strategies together [are held to](../how-to/account.md); without the section, nothing.",
        AccountLimits,
    ),
    "metrics": (
        "Where a running service [answers](../how-to/observe.md) `/metrics`, `/health` and `/ready`; without the section, nowhere.",
        MetricsSettings,
    ),
    "control": (
        "Where a running service [takes commands](../how-to/control.md) (extra `serve`); without the section, nowhere.",
        ControlSettings,
    ),
    "notify": (
        "Where people are [told of what happens](../how-to/notify.md), by the options of a broker of type `webhook`, and these.",
        NotifyRules,
    ),
    "cluster": (
        "How a run is [shared out among machines](../how-to/cluster.md); without the section, it is one machine's.",
        ClusterSettings,
    ),
    "tracing": ("Spans for OpenTelemetry (extra `otel`); without the section, none.", TracingSettings),
    "log": ("The log of a running service, on standard error.", LogSettings),
}


def metrics() -> str:
    """Every metric of a running service."""
    page = (
        "# Metrics\n\nWhat a running service answers at `/metrics`: see [How to watch a running service](../how-to/observe.md). "
        "Labels name strategies, brokers, shards and partitions of the configuration, and reasons from a fixed list: "
        "[drops](risk.md#drops), and at most 32 labels of your own validators a strategy, the rest as `other`. The process's own metrics "
        "(`process_…`, `python_…`) are there too.\n\n"
    )
    rows = [
        (f"`{one.name}`", one.kind, ", ".join(f"`{label}`" for label in one.labels), one.help)
        for one in METRICS.values()
    ]
    return page + _table(("metric", "kind", "labels", "meaning"), rows)


# ---------------------------------------------------------------------------------------------------------- lifecycle


def lifecycle() -> str:
    """The table of transitions, as the engine has it."""
    page = (
        "# Lifecycle\n\nEvery executor (a strategy on a broker) is in one of these states. Windows and paper fills go on in all of them; "
        "only an ACTIVE executor evaluates. Why: [the lifecycle explained](../explanation/lifecycle.md).\n\n"
        "| state | gauge | triggers and where they lead |\n|---|---|---|\n"
    )
    for state in State:
        leads = [f"`{trigger}` → {next_state(state, trigger).name}" for trigger in Trigger if can(state, trigger)]
        page += f"| {state.name} | {state.value} | {'<br>'.join(leads) or 'none: it is the end'} |\n"
    return page + "\nAnything that is not in this table raises [`InvalidTransition`](python.md#errors).\n"


# ------------------------------------------------------------------------------------------------------- command line


def command_line() -> str:
    """Every command with its options, from click's own description of it."""
    page = (
        "# Command line\n\nData goes to standard output, everything else to standard error. Every command that reads "
        "something takes `--json`, whose object carries a `schema_version`. `NO_COLOR`, a pipe and `TERM=dumb` switch colours off.\n\n"
        "## Exit codes\n\n| code | meaning |\n|---|---|\n"
    )
    page += "".join(f"| {code} | {meaning} |\n" for code, meaning in exit_codes().items())
    page += "| 130, 143 | Interrupted, terminated |\n| 141 | The reader of a pipe went away |\n"
    with click.Context(cli, info_name="anystrat") as top:
        for name in COMMANDS:
            command = cli.get_command(top, name)
            assert command is not None
            page += _command(command, f"anystrat {name}", top)
    return page


def exit_codes() -> dict[str, str]:
    """As the end of `anystrat --help` lists them."""
    lines = (cli.epilog or "").splitlines()
    numbered = [line.split(maxsplit=1) for line in lines if line.strip()[:1].isdigit()]
    return {code: meaning[0].upper() + meaning[1:] for code, meaning in numbered}


def _command(command: click.Command, path: str, parent: click.Context) -> str:
    with click.Context(command, info_name=path.rsplit(" ", 1)[-1], parent=parent) as context:
        page = f"\n## `{path}`\n\n{_help(command)}\n\n```text\n{command.get_usage(context).removeprefix('Usage: ')}\n```\n\n"
        rows = [record for param in command.get_params(context) if (record := param.get_help_record(context))]
        page += _table(("option", "meaning"), [(f"`{option}`", " ".join(text.split())) for option, text in rows])
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                below = command.get_command(context, name)
                assert below is not None
                page += _command(below, f"{path} {name}", context)
    return page


def _help(command: click.Command) -> str:
    """The command's description; what click keeps as it is written becomes a block."""
    parts = [part.strip() for part in (command.help or "").replace("\\b", "\b").split("\n\n")]
    return "\n\n".join(f"```text\n{part[1:].strip()}\n```" if part.startswith("\b") else part for part in parts)


# ------------------------------------------------------------------------------------------------------ files, Python


def tick_file_columns() -> tuple[str, ...]:
    """Every column of a tick file that counts; the page on files must name them."""
    return tick_columns.KNOWN


def python() -> str:
    """Every public name, for mkdocstrings to fill."""
    page = "# Python API\n\nEverything here is imported from `anystrat` itself: `from anystrat import rule`.\n"
    named = {name for names in API.values() for name in names}
    more = tuple(name for name in anystrat.__all__ if name not in named and name != "__version__")
    for title, names in {**API, "More": more}.items():
        if names:
            page += f"\n## {title}\n" + "".join(f"\n::: {_home(name)}\n{_options(name)}" for name in names)
    page += "\n## Testing\n\nFrom `anystrat.testing`: the checks that every strategy, policy and feature must pass, built in or yours.\n"
    return page + "".join(f"\n::: {_qualified(_testing(name))}\n" for name in TESTING)


def _options(name: str) -> str:
    """The fields of a Struct are shown one by one: its constructor is not written in the source."""
    value = getattr(anystrat, name)
    is_struct = isinstance(value, type) and issubclass(value, msgspec.Struct)
    return "    options: {show_if_no_docstring: true}\n" if is_struct else ""


def _testing(name: str) -> Any:
    import anystrat.testing  # noqa: PLC0415  only this page needs it

    return getattr(anystrat.testing, name)


def _home(name: str) -> str:
    return _qualified(getattr(anystrat, name))


def _qualified(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"


# ------------------------------------------------------------------------------------------------------------- tables


def _type(one: dict[str, Any]) -> str:
    heading = f"\n### `{one['name']}`\n\n{one['summary']}\n\n"
    return heading + (_parameters(one["parameters"]) if one["parameters"] else "It takes no parameters.\n")


def _parameters(parameters: Iterable[dict[str, Any]]) -> str:
    rows = []
    for each in parameters:
        default = "required" if each["required"] else _code(each["default"])
        kind = ", ".join(part for part in (each["type"], _bounds(each["bounds"]), each["unit"]) if part)
        rows.append((f"`{each['name']}`", kind, default, each["doc"]))
    return _table(("key", "type", "default", "meaning"), rows)


def _shape(shape: type[Any]) -> str:
    from anystrat.config.describe import default_text  # noqa: PLC0415  loads Pydantic's part of the configuration

    return _parameters(
        {
            "name": each.name,
            "type": each.type_text,
            "bounds": each.bounds_text,
            "unit": each.unit,
            "required": each.required,
            "default": "" if each.required else default_text(each.default),
            "doc": each.doc,
        }
        for each in fields_of(shape)
    )


def _bounds(text: str) -> str:
    """Bounds as a reader needs them: without those that keep a number of nanoseconds within 64 bits."""
    shown = [part for part in text.replace("≥ 0.000000001", "> 0").split(", ") if not _HUGE.fullmatch(part)]
    return ", ".join(shown).replace(" ", "\N{NO-BREAK SPACE}").replace(",\N{NO-BREAK SPACE}", ", ")


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    lines += [f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "reference/strategies.md": strategies,
    "reference/policies.md": policies,
    "reference/features.md": features,
    "reference/risk.md": risk,
    "reference/configuration.md": configuration,
    "reference/lifecycle.md": lifecycle,
    "reference/metrics.md": metrics,
    "reference/command-line.md": command_line,
    "reference/python.md": python,
}


# ------------------------------------------------------------------------------------------------- snippets in README

_SNIPPET = re.compile(r"(<!-- file: (?P<file>\S+) -->\n```(?P<language>\w+)\n)(?P<text>.*?)(```\n)", re.DOTALL)


def with_snippets(text: str, root: Path = ROOT) -> str:
    """`text` with every block below `<!-- file: … -->` replaced by that file."""
    return _SNIPPET.sub(lambda found: found[1] + (root / found["file"]).read_text(encoding="utf-8") + found[5], text)


if __name__ == "__main__":
    if sys.argv[1:]:  # files whose snippets are to be written anew
        for path in map(Path, sys.argv[1:]):
            path.write_text(with_snippets(path.read_text(encoding="utf-8")), encoding="utf-8")
    else:  # the pages, to look at them without building the site
        for page_name, build in PAGES.items():
            print(f"{'=' * 20} {page_name}\n{build()}")
