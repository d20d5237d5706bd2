"""How a command finds the running service of a configuration, and speaks to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from anystrat.cli.failures import say_warning
from anystrat.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from anystrat.control.client import ControlClient
    from anystrat.control.places import Access, Places

#: What an operator has asked for was done, and the kill switch is on.
RISK_HALT: Final = 6


def configured_places(config: Path) -> Places:
    """Where the files of a configuration's control API are. Raises `ConfigurationError`."""
    from anystrat import bootstrap
    from anystrat.config import load_configuration
    from anystrat.control.places import places_of

    return places_of(load_configuration(config, bootstrap.default_catalog(), strategies_required=False))


def found_access(config: Path) -> Access | None:
    """How to reach the configuration's service; None where none runs with a control API.

    A configuration that is being changed, and is wrong just now, must not keep anybody from the kill switch: where it
    cannot be read, the one service that was started beside it is meant.
    """
    from anystrat.control.client import access_of

    try:
        return access_of(configured_places(config).access)
    except ConfigurationError:
        directory = config if config.is_dir() else config.parent
        found = [*directory.glob("*.control.json"), *directory.glob("*/*.control.json")]
        if len(found) != 1:
            raise
        say_warning(f"{config} is not valid now: speaking to the service of {found[0]}")
        return access_of(found[0])


def running_service(config: Path) -> ControlClient:
    """A conversation with the configuration's service. Raises `NotAnswering` where there is none."""
    from anystrat.control.client import ControlClient, NotAnswering

    access = found_access(config)
    if access is None:
        raise NotAnswering(
            f"no service of {config} runs with a control API: add `control: {{}}` to it, or start it with "
            "`anystrat run --control 127.0.0.1:8088`"
        )
    return ControlClient(access)
