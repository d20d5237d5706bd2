"""Everything that anystrat brings along, in one catalogue."""

from __future__ import annotations

from typing import Final

from anystrat.strategies.breakout import BREAKOUT
from anystrat.strategies.catalog import Catalog, StrategyType
from anystrat.strategies.hybrid import HYBRID, HYBRID_BREAKOUT, HYBRID_MEAN_REVERSION, HYBRID_MOMENTUM
from anystrat.strategies.mean_reversion import MEAN_REVERSION
from anystrat.strategies.ml import ML_BREAKOUT, ML_MEAN_REVERSION, ML_MOMENTUM
from anystrat.strategies.momentum import MOMENTUM
from anystrat.strategies.policies import POLICIES
from anystrat.strategies.sma_crossover import SMA_CROSSOVER

STRATEGIES: Final[tuple[StrategyType, ...]] = (
    MOMENTUM,
    MEAN_REVERSION,
    BREAKOUT,
    SMA_CROSSOVER,
    ML_MOMENTUM,
    ML_MEAN_REVERSION,
    ML_BREAKOUT,
    HYBRID,
    HYBRID_MOMENTUM,
    HYBRID_MEAN_REVERSION,
    HYBRID_BREAKOUT,
)


def builtin_catalog() -> Catalog:
    """A catalogue of one's own with every built-in strategy and policy, to register more into."""
    catalog = Catalog()
    for strategy in STRATEGIES:
        catalog.register(strategy)
    for policy in POLICIES:
        catalog.register(policy)
    return catalog
