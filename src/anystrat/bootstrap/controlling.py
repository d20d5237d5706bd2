"""The control API of a run, as its configuration says: what it hears, what it listens on, what it reads again."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from anystrat.domain.errors import MissingExtra

if TYPE_CHECKING:
    from anystrat.bootstrap.observing import Observation
    from anystrat.control.service import Reload
    from anystrat.control.stream import OutcomeStream
    from anystrat.domain.clock import Clock
    from anystrat.domain.configuration import Configuration
    from anystrat.domain.health import Endpoint
    from anystrat.runner.runner import Runner


def outcome_stream(configuration: Configuration) -> OutcomeStream | None:
    """What the control API tells of; None where there is none."""
    if configuration.control is None:
        return None
    from anystrat.control.stream import OutcomeStream

    return OutcomeStream(secrets.token_hex(6), configuration.control.events)


def control_endpoint(
    configuration: Configuration,
    runner: Runner,
    stream: OutcomeStream,
    *,
    clock: Clock,
    observation: Observation | None = None,
    reload: Reload | None = None,
) -> Endpoint:
    """What takes commands for this runner. Raises `MissingExtra`."""
    if configuration.control is None:
        raise ValueError("the configuration has no control API")
    try:
        from anystrat.control.endpoint import ControlEndpoint
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"fastapi", "starlette", "uvicorn", "h11"}:
            raise
        raise MissingExtra("the control API", "serve") from None
    from anystrat.control.audit import AuditLog
    from anystrat.control.places import places_of
    from anystrat.control.service import ControlService

    log = None if observation is None else observation.log
    wrong = 0

    def acted(actor: str, action: str, details: Mapping[str, Any]) -> None:
        if log is not None:
            log.info("operator", actor=actor, action=action, details=dict(details))

    def wrong_token(client: str) -> None:
        nonlocal wrong
        wrong += 1
        if log is not None and str(wrong).rstrip("0") == "1":
            log.warning("a request with a wrong token", client=client, count=wrong)

    places = places_of(configuration)
    service = ControlService(runner, stream, AuditLog(places.audit), reload, acted)
    return ControlEndpoint(service, configuration.control, places, now_ns=clock.now_ns, on_wrong_token=wrong_token)
