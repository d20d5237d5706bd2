"""anystrat: run any trading strategy, rules, ML or both, through one call path, the same live, in paper and in backtest.

Names are loaded when they are first used, so that `import anystrat` costs nothing that you do not use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from anystrat.adapters.signal_files import open_signals as open_signals
    from anystrat.adapters.tick_files import open_ticks as open_ticks
    from anystrat.backtest.figures import Figures as Figures
    from anystrat.backtest.frame import Frame as Frame
    from anystrat.backtest.result import BacktestResult as BacktestResult
    from anystrat.bootstrap.backtesting import backtest as backtest
    from anystrat.bootstrap.sweeping import sweep as sweep
    from anystrat.domain.columns import TickColumns as TickColumns
    from anystrat.domain.configuration import Configuration as Configuration
    from anystrat.domain.configuration import ExecutionContext as ExecutionContext
    from anystrat.domain.configuration import InstrumentSpec as InstrumentSpec
    from anystrat.domain.configuration import PaperCosts as PaperCosts
    from anystrat.domain.configuration import PortfolioState as PortfolioState
    from anystrat.domain.configuration import RiskLimits as RiskLimits
    from anystrat.domain.configuration import Session as Session
    from anystrat.domain.configuration import StrategyConfig as StrategyConfig
    from anystrat.domain.delivery import Idempotent as Idempotent
    from anystrat.domain.delivery import Neither as Neither
    from anystrat.domain.delivery import OutcomeUnknown as OutcomeUnknown
    from anystrat.domain.delivery import Reconcilable as Reconcilable
    from anystrat.domain.delivery import Rejected as Rejected
    from anystrat.domain.errors import AnystratError as AnystratError
    from anystrat.domain.errors import ConfigurationError as ConfigurationError
    from anystrat.domain.errors import InvalidTransition as InvalidTransition
    from anystrat.domain.errors import MissingExtra as MissingExtra
    from anystrat.domain.errors import ModelRefused as ModelRefused
    from anystrat.domain.errors import SnapshotRefused as SnapshotRefused
    from anystrat.domain.errors import StaleHistory as StaleHistory
    from anystrat.domain.errors import TickFileError as TickFileError
    from anystrat.domain.errors import UnknownName as UnknownName
    from anystrat.domain.intake import LiveSource as LiveSource
    from anystrat.domain.intake import NoticeKind as NoticeKind
    from anystrat.domain.intake import SourceFailed as SourceFailed
    from anystrat.domain.intake import SourceNotice as SourceNotice
    from anystrat.domain.intake import TickBatch as TickBatch
    from anystrat.domain.lifecycle import State as State
    from anystrat.domain.outcomes import Reason as Reason
    from anystrat.domain.protocols import BatchCapable as BatchCapable
    from anystrat.domain.protocols import DecisionPolicy as DecisionPolicy
    from anystrat.domain.protocols import FeatureStore as FeatureStore
    from anystrat.domain.protocols import HistoryProvider as HistoryProvider
    from anystrat.domain.protocols import InferenceModel as InferenceModel
    from anystrat.domain.protocols import MLCapable as MLCapable
    from anystrat.domain.protocols import SeedAware as SeedAware
    from anystrat.domain.protocols import SessionClock as SessionClock
    from anystrat.domain.protocols import SignalPublisher as SignalPublisher
    from anystrat.domain.protocols import SignalValidator as SignalValidator
    from anystrat.domain.protocols import StrategyProcessor as StrategyProcessor
    from anystrat.domain.protocols import TickSource as TickSource
    from anystrat.domain.signal import EmittedSignal as EmittedSignal
    from anystrat.domain.signal import SignalResult as SignalResult
    from anystrat.domain.tick import MarketTick as MarketTick
    from anystrat.domain.window import History as History
    from anystrat.engine.engine import Engine as Engine
    from anystrat.engine.executor import StrategyExecutor as StrategyExecutor
    from anystrat.factory import StrategyFactory as StrategyFactory
    from anystrat.plugins import register_policy as register_policy
    from anystrat.plugins import register_publisher as register_publisher
    from anystrat.plugins import register_source as register_source
    from anystrat.plugins import register_strategy as register_strategy
    from anystrat.plugins import register_validator as register_validator
    from anystrat.service import StrategyRunnerService as StrategyRunnerService
    from anystrat.strategies.catalog import BuildContext as BuildContext
    from anystrat.strategies.catalog import PolicyType as PolicyType
    from anystrat.strategies.catalog import PublisherType as PublisherType
    from anystrat.strategies.catalog import SourceType as SourceType
    from anystrat.strategies.catalog import StrategyType as StrategyType
    from anystrat.strategies.catalog import ValidatorType as ValidatorType
    from anystrat.strategies.features import register_feature as register_feature
    from anystrat.strategies.function_rule import rule as rule
    from anystrat.sweeps.result import SweepResult as SweepResult
    from anystrat.sweeps.space import Span as Span

_HOME = {
    "adapters.signal_files": ("open_signals",),
    "adapters.tick_files": ("open_ticks",),
    "backtest.figures": ("Figures",),
    "backtest.frame": ("Frame",),
    "backtest.result": ("BacktestResult",),
    "bootstrap.sweeping": ("sweep",),
    "domain.columns": ("TickColumns",),
    "domain.configuration": (
        "Configuration",
        "ExecutionContext",
        "InstrumentSpec",
        "PaperCosts",
        "PortfolioState",
        "RiskLimits",
        "Session",
        "StrategyConfig",
    ),
    "domain.delivery": ("Idempotent", "Neither", "OutcomeUnknown", "Reconcilable", "Rejected"),
    "domain.errors": (
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
    "domain.intake": ("LiveSource", "NoticeKind", "SourceFailed", "SourceNotice", "TickBatch"),
    "domain.lifecycle": ("State",),
    "domain.outcomes": ("Reason",),
    "domain.protocols": (
        "BatchCapable",
        "DecisionPolicy",
        "FeatureStore",
        "HistoryProvider",
        "InferenceModel",
        "MLCapable",
        "SeedAware",
        "SessionClock",
        "SignalPublisher",
        "SignalValidator",
        "StrategyProcessor",
        "TickSource",
    ),
    "domain.signal": ("EmittedSignal", "SignalResult"),
    "domain.tick": ("MarketTick",),
    "domain.window": ("History",),
    "engine.engine": ("Engine",),
    "engine.executor": ("StrategyExecutor",),
    "factory": ("StrategyFactory",),
    "plugins": ("register_policy", "register_publisher", "register_source", "register_strategy", "register_validator"),
    "service": ("StrategyRunnerService",),
    "strategies.catalog": (
        "BuildContext",
        "PolicyType",
        "PublisherType",
        "SourceType",
        "StrategyType",
        "ValidatorType",
    ),
    "strategies.features": ("register_feature",),
    "strategies.function_rule": ("rule",),
    "sweeps.result": ("SweepResult",),
    "sweeps.space": ("Span",),
}
_MODULE = {name: f"{__name__}.{module}" for module, names in _HOME.items() for name in names}

__all__ = [
    "AnystratError",
    "BacktestResult",
    "BatchCapable",
    "BuildContext",
    "Configuration",
    "ConfigurationError",
    "DecisionPolicy",
    "EmittedSignal",
    "Engine",
    "ExecutionContext",
    "FeatureStore",
    "Figures",
    "Frame",
    "History",
    "HistoryProvider",
    "Idempotent",
    "InferenceModel",
    "InstrumentSpec",
    "InvalidTransition",
    "LiveSource",
    "MLCapable",
    "MarketTick",
    "MissingExtra",
    "ModelRefused",
    "Neither",
    "NoticeKind",
    "OutcomeUnknown",
    "PaperCosts",
    "PolicyType",
    "PortfolioState",
    "PublisherType",
    "Reason",
    "Reconcilable",
    "Rejected",
    "RiskLimits",
    "SeedAware",
    "Session",
    "SessionClock",
    "SignalPublisher",
    "SignalResult",
    "SignalValidator",
    "SnapshotRefused",
    "SourceFailed",
    "SourceNotice",
    "SourceType",
    "Span",
    "StaleHistory",
    "State",
    "StrategyConfig",
    "StrategyExecutor",
    "StrategyFactory",
    "StrategyProcessor",
    "StrategyRunnerService",
    "StrategyType",
    "SweepResult",
    "TickBatch",
    "TickColumns",
    "TickFileError",
    "TickSource",
    "UnknownName",
    "ValidatorType",
    "__version__",
    "backtest",
    "open_signals",
    "open_ticks",
    "register_feature",
    "register_policy",
    "register_publisher",
    "register_source",
    "register_strategy",
    "register_validator",
    "rule",
    "sweep",
]


def __getattr__(name: str) -> Any:
    if name == "backtest":
        return import_module(f"{__name__}.backtest")  # a package that can be called: see there
    if name not in _MODULE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
