"""How a command finds the running service of a configuration, or all of its parts on this machine, and speaks to it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from anystrat.cli.failures import say_warning
from anystrat.domain.errors import AnystratError, ConfigurationError

if TYPE_CHECKING:
    from anystrat.control.client import ControlClient
    from anystrat.control.places import Access, Places
    from anystrat.domain.configuration import Configuration

#: What an operator has asked for was done, and the kill switch is on.
RISK_HALT: Final = 6
#: What a part says that has not got what is asked for; another one may have it.
_NOT_HERE: Final = frozenset({"unknown_strategy", "unknown_broker"})


@dataclass(slots=True, eq=False)
class Services:
    """Conversations with a service, or with each of its parts, by number; a whole one is None. `missing` parts answer nobody here."""

    clients: dict[int | None, ControlClient]
    missing: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether nobody was left out; says who was."""
        for each in self.missing:
            say_warning(each)
        return not self.missing

    def each(self, ask: Callable[[ControlClient], dict[str, Any]]) -> dict[int | None, dict[str, Any]]:
        """What each answers. A part that does not know what is meant is no matter where another one does.

        Raises `RequestRefused` where nobody has done it; what others refuse then is kept in `missing`.
        """
        from anystrat.control.client import NotAnswering, RequestRefused

        answers: dict[int | None, dict[str, Any]] = {}
        refusals: list[tuple[int | None, AnystratError]] = []
        for part, client in self.clients.items():
            try:
                answers[part] = ask(client)
            except (NotAnswering, RequestRefused) as error:
                refusals.append((part, error))
        telling = [(part, error) for part, error in refusals if getattr(error, "code", "") not in _NOT_HERE]
        if not answers and refusals:
            raise (telling or refusals)[0][1]
        self.missing += [f"part {part}: {error}" for part, error in telling]
        return answers


def configured_places(config: Path) -> Places:
    """Where the files of a configuration's control API are. Raises `ConfigurationError`."""
    from anystrat.control.places import places_of

    return places_of(_loaded(config))


def configured_audit(config: Path, part: int | None) -> Path:
    """The audit log of a configuration's service, or of a part of it. Raises `ConfigurationError`, `click.UsageError`."""
    from anystrat.control.places import audits_of_parts, places_of

    found = _loaded(config)
    whole, parts = places_of(found).audit, audits_of_parts(found)
    if part is None and (whole.exists() or not parts):
        return whole
    if part not in parts:
        there = ", ".join(map(str, parts)) or "none"
        asked = "each part of the run writes one: name it with --part" if part is None else f"part {part} has none"
        raise click.UsageError(f"{config}: {asked}; here are the audit logs of the parts {there}")
    return parts[part]


def _loaded(config: Path) -> Configuration:
    from anystrat import bootstrap
    from anystrat.config import load_configuration

    return load_configuration(config, bootstrap.default_catalog(), strategies_required=False)


@contextmanager
def running_services(config: Path, part: int | None = None) -> Generator[Services]:
    """Conversations with the configuration's service, or its parts on this machine, or the one that is named.

    A configuration that is being changed, and is wrong just now, must not keep anybody from the kill switch: where it
    cannot be read, the one service that was started beside it is meant. Raises `NotAnswering` where there is none.
    """
    from anystrat.control.client import ControlClient, NotAnswering, named_access
    from anystrat.control.places import read_access

    missing: list[str] = []
    named = named_access()
    found: dict[int | None, Access] = {}
    if named is not None:
        found[part] = named
    else:
        try:
            paths, missing = _told(config, part)
        except ConfigurationError:
            paths = _beside(config)
            if not paths:
                raise
            first = next(iter(paths.values()))
            say_warning(f"{config} is not valid now: speaking to the service of {first}")
        for number, path in paths.items():
            access = read_access(path)
            if access is not None:
                found[number] = access
    if not found:
        raise NotAnswering(
            "; ".join(missing)
            or f"no service of {config} runs with a control API: add `control: {{}}` to it, or start it with "
            "`anystrat run --control 127.0.0.1:8088`"
        )
    with ExitStack() as open_ones:
        clients = {number: open_ones.enter_context(ControlClient(access)) for number, access in found.items()}
        yield Services(clients, missing)


def _told(config: Path, part: int | None) -> tuple[dict[int | None, Path], list[str]]:
    """Where services may have said how they are reached; and what is to be said of parts that are elsewhere."""
    from anystrat.control.places import accesses_of_parts, places_of

    configuration = _loaded(config)
    whole = places_of(configuration).access
    here = accesses_of_parts(configuration)
    if configuration.cluster is None:
        if not here:
            if part is not None:
                raise click.UsageError(f"{config} does not run in parts here: leave --part out")
            return {None: whole}, []
        if part is not None and part not in here:
            numbers = ", ".join(map(str, here))
            raise click.UsageError(f"no worker {part} of {config} runs with a control API; there are: {numbers}")
        return {each: path for each, path in here.items() if part in {None, each}}, []
    if part is not None and part >= configuration.cluster.parts:
        raise click.UsageError(
            f"{config} has the parts 0 to {configuration.cluster.parts - 1}: there is no part {part}"
        )
    from anystrat.cli.cluster_status import parts_elsewhere

    chosen: dict[int | None, Path] = {each: path for each, path in here.items() if part in {None, each}}
    return chosen, parts_elsewhere(configuration, set(here), part)


def _beside(config: Path) -> dict[int | None, Path]:
    """The one service, or the workers of one, that were started beside a configuration that cannot be read."""
    from anystrat.control.places import part_of

    directory = config if config.is_dir() else config.parent
    found = [*directory.glob("*.control.json"), *directory.glob("*/*.control.json")]
    parts = {path: part_of(path) for path in found}
    if len({whole for whole, _ in parts.values()}) != 1:
        return {}
    return {number: path for path, (_, number) in sorted(parts.items())}
