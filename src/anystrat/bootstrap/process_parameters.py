"""A strategy's checked parameters as plain values, for the process that the strategy has to itself, and back."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import msgspec

from anystrat.domain.errors import ConfigurationError, Problem
from anystrat.strategies.catalog import Part
from anystrat.strategies.hybrid import HybridParameters

if TYPE_CHECKING:
    from anystrat.domain.configuration import StrategyConfig
    from anystrat.strategies.catalog import Catalog


def packed(row: StrategyConfig, catalog: Catalog) -> Any:
    """The row's parameters as plain values. Raises `ConfigurationError` for some that would not be the same again."""
    try:
        values = _packed(row.parameters)
        if (
            unpacked(msgspec.msgpack.decode(msgspec.msgpack.encode(values)), row.strategy_type, catalog)
            == row.parameters
        ):
            return values
        why = "they are not the same after it"
    except (TypeError, ValueError) as error:
        why = str(error)
    raise ConfigurationError(
        [
            Problem(
                f"the parameters of type {row.strategy_type!r} cannot be handed to a process of its own ({why}): "
                "leave `isolate` out, or let them be numbers, texts, decimals, paths, and dataclasses of such",
                path=f"strategy {row.strategy_id!r}.isolate",
            )
        ]
    )


def unpacked(values: Any, strategy_type: str, catalog: Catalog) -> Any:
    """The parameters object of that type. Raises `TypeError`, `ValueError`, `UnknownName`."""
    entry = catalog.strategy(strategy_type)
    if entry.composition is None:
        return _made(values, entry.parameters)
    rules, ml, policy, on_model_failure, on_deadline = values
    return HybridParameters(
        _part(rules, catalog.strategy(rules[0]).parameters),
        _part(ml, catalog.strategy(ml[0]).parameters),
        _part(policy, catalog.policy(policy[0]).parameters),
        on_model_failure,
        on_deadline,
    )


def _packed(parameters: Any) -> Any:
    if isinstance(parameters, HybridParameters):
        parts = [[part.type, _plain(part.parameters)] for part in (parameters.rules, parameters.ml, parameters.policy)]
        return [*parts, parameters.on_model_failure, parameters.on_deadline]
    return _plain(parameters)


def _plain(parameters: Any) -> Any:
    return msgspec.to_builtins(parameters, enc_hook=_text_of_path)


def _part(values: Any, shape: type[Any]) -> Part:
    return Part(values[0], _made(values[1], shape))


def _made(values: Any, shape: type[Any]) -> Any:
    return msgspec.convert(values, shape, dec_hook=_path_of_text)


def _text_of_path(value: Any) -> Any:
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no plain form")


def _path_of_text(shape: type[Any], value: Any) -> Any:
    if issubclass(shape, PurePath):
        return shape(value)
    raise TypeError(f"{shape.__name__} has no plain form")
