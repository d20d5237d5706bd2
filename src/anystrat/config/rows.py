"""One row: from a mapping, wherever it came from, to a checked `StrategyConfig`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, TypeVar

from annotated_types import MinLen

from anystrat.config.bars import read_bars
from anystrat.config.isolation import read_isolation
from anystrat.config.node import Node
from anystrat.config.parameters import SHARED_KEYS, strategy_parameters
from anystrat.config.problems import Problems
from anystrat.config.risk import RISK_KEYS, SIZING_KEYS, risk_limits
from anystrat.config.shapes import Steps, checked
from anystrat.domain.configuration import RiskLimits, StrategyConfig
from anystrat.domain.parameters import Doc, Ge, Le
from anystrat.strategies.catalog import Catalog

_Token = Annotated[int, Ge(0), Le(2**63 - 1)]
T = TypeVar("T")
#: What was read from nodes without a problem, with the nodes, so that others cannot take their places in memory.
Known = dict[tuple[object, ...], tuple[list[Node | None], Any]]
_MOST_KNOWN: Final = 1_024


@dataclass(frozen=True, slots=True)
class RowShape:
    """A row, without its `parameters`."""

    id: Annotated[str, MinLen(1), Doc("Name of the strategy in signals, metrics and the journal; unique.")]
    strategy_type: Annotated[str, Doc("What the strategy is; `anystrat types` lists them.")]
    instruments: Annotated[tuple[_Token, ...], MinLen(1), Doc("Tokens of the instruments that it watches.")]
    brokers: Annotated[tuple[str, ...], MinLen(1), Doc("Names of the brokers that get its signals.")] = ("paper",)
    enabled: Annotated[bool, Doc("Whether it takes part.")] = True
    name: Annotated[str, Doc("A name for people.")] = ""
    strategy_name: Annotated[str, Doc("The same as `name`.")] = ""
    validator: Annotated[str, Doc("Who checks signals beside the standard checks.")] = "standard"
    per_instrument: Annotated[bool, Doc("One executor for each instrument, instead of one for all of them.")] = False


@dataclass(frozen=True, slots=True)
class RowReader:
    """Reads rows against a catalogue. `brokers` are the names that are declared; None where nobody declares any.

    `known` is for whoever reads many rows that are alike: what two of them have from the same nodes is read once.
    """

    catalog: Catalog
    brokers: Collection[str] | None
    problems: Problems
    known: Known = field(default_factory=dict)

    def read(self, node: Node, path: Steps = (), *, default_id: str = "") -> StrategyConfig | None:
        """The row, or None after adding everything that is wrong with it. `default_id` serves a row without `id`."""
        if not node.is_mapping:
            self.problems.add(node, path, "a row must be a mapping", allowed=_ROW_EXAMPLE)
            return None
        before = len(self.problems.found)
        entries = self._present(node)
        if default_id and "id" not in entries:
            entries["id"] = Node(default_id, node.origin, node.line)
        parameters = entries.pop("parameters", None) or Node({}, node.origin, node.line)
        bars = None
        if (given := entries.pop("bars", None)) is not None:
            bars = read_bars(given, (*path, "bars"), self.problems)
        isolation = None
        if (given := entries.pop("isolate", None)) is not None:
            isolation = read_isolation(given, (*path, "isolate"), self.problems)
        validator = self._validator_in(entries, parameters, path)
        whole = node.with_value(entries)
        row = self._once(
            RowShape,
            entries.values(),
            lambda: checked(RowShape, whole, path, self.problems, more_keys=_APART, explain=_belongs),
        )
        limits = RiskLimits()
        checked_parameters = None
        if not parameters.is_mapping:
            self.problems.add(parameters, (*path, "parameters"), "must be a mapping")
        else:
            limits = self._once(
                RiskLimits,
                map(parameters.entries.get, ("risk", *SIZING_KEYS)),
                lambda: risk_limits(parameters, (*path, "parameters"), self.problems),
            )
            checked_parameters = self._parameters(entries.get("strategy_type"), parameters, path)
        if row is None:
            return None
        self._check(row, node, path)
        if len(self.problems.found) > before:
            return None
        return StrategyConfig(
            strategy_id=row.id,
            strategy_type=str(row.strategy_type),
            parameters=checked_parameters,
            instrument_tokens=row.instruments,
            active_brokers=row.brokers,
            name=row.name or row.strategy_name,
            validator=validator or row.validator,
            per_instrument=row.per_instrument,
            enabled=row.enabled,
            risk=limits,
            bars=bars,
            isolation=isolation,
        )

    def _once(self, kind: type[Any], nodes: Iterable[Node | None], read: Callable[[], T]) -> T:
        """What `read` makes of these nodes, or made of them before."""
        found = list(nodes)
        key = (kind, *map(id, found))
        if key in self.known:
            made: T = self.known[key][1]
            return made
        before = len(self.problems.found)
        made = read()
        if len(self.problems.found) == before:
            if len(self.known) == _MOST_KNOWN:
                self.known.clear()
            self.known[key] = found, made
        return made

    @staticmethod
    def _present(node: Node) -> dict[str, Node]:
        """The row's keys; one that is there without a value (`brokers:`, NULL) counts as left out where that can be."""
        required = ("id", "strategy_type", "instruments")
        return {key: child for key, child in node.entries.items() if child.value is not None or key in required}

    def _parameters(self, kind: Node | None, parameters: Node, path: Steps) -> object:
        if kind is None or not isinstance(kind.value, str):
            return None  # the row's own check has said so
        entry = self.catalog.strategies.get(kind.value)
        if entry is None:
            self.problems.unknown(
                kind, (*path, "strategy_type"), "strategy type", kind.value, sorted(self.catalog.strategies)
            )
            return None
        return strategy_parameters(entry, parameters, (*path, "parameters"), self.catalog, self.problems)

    def _validator_in(self, entries: dict[str, Node], parameters: Node, path: Steps) -> str:
        """The validator's name, which may stand at the row's top or under `parameters`; empty where neither has one."""
        places = (
            ((*path, "validator"), entries.get("validator")),
            ((*path, "parameters", "validator"), parameters.entries.get("validator")),
        )
        given = [(place, node) for place, node in places if node is not None]
        for place, node in given:
            known = sorted({"standard", *self.catalog.validators})
            if not isinstance(node.value, str):
                self.problems.add(node, place, "must be text", allowed=known)
            elif node.value not in known:
                self.problems.unknown(node, place, "validator", node.value, known)
        if len({node.value for _, node in given if isinstance(node.value, str)}) > 1:
            place, node = given[1]
            self.problems.add(node, place, f"the row already has the validator {given[0][1].found()}")
        entries.pop("validator", None)
        return str(given[0][1].value) if given else ""

    def _check(self, row: RowShape, node: Node, path: Steps) -> None:
        entries = node.entries
        if any(not character.isprintable() for character in row.id):
            self.problems.add(entries["id"], (*path, "id"), "must be printable text on one line")
        if row.name and row.strategy_name:
            other = entries["strategy_name"]
            self.problems.add(
                other, (*path, "strategy_name"), "`name` and `strategy_name` are both given; keep one of them"
            )
        self._unique(row.instruments, entries.get("instruments"), (*path, "instruments"), "instrument")
        self._unique(row.brokers, entries.get("brokers"), (*path, "brokers"), "broker")
        if self.brokers is not None:
            for index, broker in enumerate(row.brokers):
                if broker not in self.brokers:
                    place = (*path, "brokers", index)
                    self.problems.unknown(node.at(("brokers", index)), place, "broker", broker, sorted(self.brokers))

    def _unique(self, values: tuple[object, ...], node: Node | None, path: Steps, what: str) -> None:
        for index, value in enumerate(values):
            if node is not None and value in values[:index]:
                self.problems.add(node.at((index,)), (*path, index), f"the {what} is there twice")


#: Keys of a row that are read by somebody else.
_APART = ("parameters", "bars", "isolate")
_ROW_EXAMPLE = "{id: …, strategy_type: …, parameters: {…}, instruments: [token, …], brokers: [paper], enabled: true}"


def _belongs(key: str) -> str:
    if key in RISK_KEYS:
        return "it goes under `parameters.risk`"
    return "it goes under `parameters`" if key in SHARED_KEYS else ""
