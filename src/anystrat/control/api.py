"""The control API's paths. A path that does not say what it takes to be asked (`needs`) is closed to everybody."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final, TypeVar

from fastapi import Depends, FastAPI, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from anystrat.control import models, views
from anystrat.control.guard import WHO, Who
from anystrat.control.page import page
from anystrat.control.service import ControlService, Refused
from anystrat.control.sse import EventStream
from anystrat.control.stream import RECENT, body_of
from anystrat.control.tokens import Scope

F = TypeVar("F", bound=Callable[..., Any])

#: The path of the kill switch, which is not held up by a rate.
KILL: Final = "/v1/kill"
#: Readers of the stream at one time.
MOST_READERS: Final = 64
_NEEDS: Final = "anystrat_needs"
_OPEN: Final = "open"
_CODES: Final = {404: "not_found", 405: "method_not_allowed"}
_REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"model": models.Error, "description": text}
    for status, text in {
        400: "The request is not understood, or its Host is not known here.",
        401: "No token, or a wrong one.",
        403: "The token is not good for this, or another site's page asks.",
        413: "The body is too large.",
        422: "A value is not allowed.",
        429: "Too many requests.",
        503: "The service is not running yet, or ends, or is busy.",
    }.items()
}
_UNKNOWN: Final[dict[int | str, dict[str, Any]]] = {
    404: {"model": models.Error, "description": "There is no such thing."}
}
_CONFLICT: Final[dict[int | str, dict[str, Any]]] = {
    409: {"model": models.Error, "description": "It cannot be done as things are."}
}
_Limit = Annotated[int, Query(ge=1, le=RECENT, description="At most so many.")]
_Strategy = Annotated[str | None, Query(max_length=200, description="Only of this strategy.")]
_Broker = Annotated[str | None, Query(max_length=200, description="Only of this broker.")]


def needs(scope: Scope | None) -> Callable[[F], F]:
    """What it takes to ask; None: nothing, anybody may."""

    def mark(function: F) -> F:
        setattr(function, _NEEDS, _OPEN if scope is None else scope)
        return function

    return mark


async def _allowed(request: Request) -> Who:
    who: Who = request.scope[WHO]
    wanted = getattr(request.scope.get("endpoint"), _NEEDS, None)
    if wanted == _OPEN:
        return who
    if wanted is None:
        raise Refused(403, "closed", "this is open to nobody")
    if who.scope is None:
        raise Refused(401, "no_token", "this needs a token: Authorization: Bearer …")
    if not who.scope.covers(wanted):
        status = 401 if who.name == "anonymous" else 403
        raise Refused(status, "not_allowed", f"this needs a token with the scope {wanted.value!r}")
    return who


_Asked = Annotated[Who, Depends(_allowed)]


def control_app(service: ControlService) -> FastAPI:
    """The application, without what stands before it (`guard`)."""
    app = FastAPI(
        title="anystrat control API",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[Depends(HTTPBearer(auto_error=False)), Depends(_allowed)],
        responses=_REFUSALS,
    )
    _errors(app)
    _looking(app, service)
    _recent(app, service)
    _doing(app, service)
    _documents(app)
    return app


def _looking(app: FastAPI, service: ControlService) -> None:
    runner = service.runner

    @app.get("/v1/health", summary="Whether the service lives", responses={503: {"model": models.Health}})
    @needs(None)
    async def health() -> JSONResponse:
        found = views.health(runner)
        return JSONResponse(found.model_dump(), 200 if found.alive else 503)

    @app.get(
        "/v1/ready", summary="Whether ticks are taken and signals delivered", responses={503: {"model": models.Ready}}
    )
    @needs(Scope.READ)
    async def ready() -> JSONResponse:
        found = service.view("ready", views.ready)
        return JSONResponse(found.model_dump(), 200 if found.ready else 503)

    @app.get("/v1/status", summary="The service at a glance")
    @needs(Scope.READ)
    async def status() -> models.Status:
        return service.view("status", views.status)

    @app.get("/v1/strategies", summary="All executors, with their states and counters")
    @needs(Scope.READ)
    async def strategies() -> models.Strategies:
        return models.Strategies(strategies=service.view("strategies", views.strategies))

    @app.get("/v1/strategy", summary="The executors of one strategy", responses=_UNKNOWN)
    @needs(Scope.READ)
    async def strategy(id: Annotated[str, Query(min_length=1, max_length=200)]) -> models.Strategies:  # noqa: A002  the parameter's name on the wire
        return models.Strategies(strategies=views.strategies(service.runner, service.executors(id)))

    @app.get("/v1/positions", summary="Paper accounts: positions, realised and unrealised P&L")
    @needs(Scope.READ)
    async def positions() -> models.Positions:
        return service.view("positions", views.positions)


def _recent(app: FastAPI, service: ControlService) -> None:
    stream = service.stream
    readers = 0

    @app.get("/v1/signals", summary="The latest signals, newest first")
    @needs(Scope.READ)
    async def signals(strategy: _Strategy = None, limit: _Limit = 100) -> models.Signals:
        chosen = [each for each in reversed(stream.signals) if strategy in {None, each.what.signal.strategy_id}]
        listed = [models.Signal(**body_of(each)) for each in chosen[:limit]]
        return models.Signals(signals=listed, last_event_id=stream.id_of(stream.last))

    @app.get("/v1/drops", summary="The latest signals that a check refused, newest first")
    @needs(Scope.READ)
    async def drops(
        strategy: _Strategy = None,
        reason: Annotated[str | None, Query(max_length=100, description="Only for this reason.")] = None,
        limit: _Limit = 100,
    ) -> models.Drops:
        chosen = [
            each
            for each in reversed(stream.drops)
            if strategy in {None, each.what.strategy_id} and reason in {None, str(each.what.reason)}
        ]
        listed = [models.Drop(**body_of(each)) for each in chosen[:limit]]
        return models.Drops(drops=listed, counts=service.view("drops", lambda _: service.drop_counts()))

    @app.get(
        "/v1/events",
        summary="What the engines decide, as it happens",
        description="Server-sent events. The `id` of an event, given back as `Last-Event-ID`, goes on behind it; `gap` says "
        "that something in between is not kept any more, `cut` that the reader was too slow.",
        response_class=Response,
        responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "Events."}},
    )
    @needs(Scope.READ)
    async def events(
        kind: Annotated[list[models.Kind] | None, Query(description="Only these kinds; may be repeated.")] = None,
        recent: Annotated[int, Query(ge=0, le=RECENT, description="Begin with so many of what was before.")] = 0,
        follow: Annotated[bool, Query(description="Go on when all that is there was told.")] = True,  # noqa: FBT002  a parameter on the wire
        last_event_id: Annotated[str | None, Header(max_length=100)] = None,
    ) -> Response:
        nonlocal readers
        if readers >= MOST_READERS:
            raise Refused(503, "busy", f"{MOST_READERS} readers follow already")
        oldest = stream.first - 1
        seen = None if last_event_id is None else stream.place_of(last_event_id)
        after = max(oldest, stream.last - recent) if last_event_id is None else max(oldest, seen or 0)
        lost = last_event_id is not None and (seen is None or seen < oldest)
        readers += 1

        def ended() -> None:
            nonlocal readers
            readers -= 1

        return EventStream(stream, after, kinds=kind, lost=lost, follow=follow, on_end=ended)


def _doing(app: FastAPI, service: ControlService) -> None:
    @app.post("/v1/commands", summary="Pause, resume, stop or enable strategies", responses={**_UNKNOWN, **_CONFLICT})
    @needs(Scope.OPERATE)
    async def commands(order: models.CommandOne | models.CommandAll, who: _Asked) -> models.Commanded:
        one = order if isinstance(order, models.CommandOne) else None
        return await service.command(
            who, order.operation, None if one is None else one.strategy, None if one is None else one.broker
        )

    @app.get(KILL, summary="The kill switch")
    @needs(Scope.READ)
    async def kill() -> models.Kill:
        return service.kill_switch()

    @app.put(KILL, summary="Turn the kill switch")
    @needs(Scope.OPERATE)
    async def set_kill(order: models.KillOrder, who: _Asked) -> models.Kill:
        return await service.kill(who, on=order.on, reason=order.reason)

    @app.get("/v1/reduce-only", summary="Whether only what reduces a position may pass", responses=_CONFLICT)
    @needs(Scope.READ)
    async def reduce_only() -> models.ReduceOnly:
        return service.reduce_only()

    @app.put("/v1/reduce-only", summary="Let only what reduces a position pass", responses=_CONFLICT)
    @needs(Scope.OPERATE)
    async def let_reduce_only(order: models.KillOrder, who: _Asked) -> models.ReduceOnly:
        return await service.let_reduce_only(who, on=order.on, reason=order.reason)

    @app.post("/v1/reload", summary="Read the configuration again", responses=_CONFLICT)
    @needs(Scope.OPERATE)
    async def reload(who: _Asked) -> models.Reloaded:
        return await service.reloaded(who)

    @app.get("/v1/dead-letters", summary="Signals that were not delivered", responses=_UNKNOWN)
    @needs(Scope.READ)
    async def dead_letters(broker: _Broker = None, limit: _Limit = 100) -> models.DeadLetters:
        found = await service.dead_letters(broker)
        return models.DeadLetters(dead_letters=[views.dead_letter(each) for each in found[:limit]], total=len(found))

    @app.post("/v1/dead-letters/replay", summary="Have dead letters sent again", responses=_UNKNOWN)
    @needs(Scope.OPERATE)
    async def replay(order: models.ReplayIds | models.ReplayBroker | models.ReplayAll, who: _Asked) -> models.Replayed:
        return models.Replayed(revived=await service.revive(who, order))


def _documents(app: FastAPI) -> None:
    text, policy = page()

    @app.get("/", include_in_schema=False)
    @needs(None)
    async def root() -> HTMLResponse:
        return HTMLResponse(text, headers={"content-security-policy": policy})

    @app.get("/v1/openapi.json", include_in_schema=False)
    @needs(Scope.READ)
    async def openapi() -> JSONResponse:
        return JSONResponse(document(app))


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document: every path with the scope that it needs."""
    made = get_openapi(title=app.title, version=app.version, routes=app.routes, summary="Steer a running service.")
    for route in app.routes:
        wanted = getattr(getattr(route, "endpoint", None), _NEEDS, None)
        path = made["paths"].get(getattr(route, "path", ""), {})
        for method in getattr(route, "methods", None) or ():
            operation = path.get(method.lower())
            if operation is None:
                continue
            if wanted == _OPEN:
                operation["security"] = []
            operation["x-scope"] = wanted if wanted == _OPEN else str(wanted)
    return made


def _errors(app: FastAPI) -> None:
    @app.exception_handler(Refused)
    async def refused(_request: Request, error: Refused) -> JSONResponse:
        headers = {"www-authenticate": "Bearer"} if error.status == 401 else {}
        return _said(error.status, error.code, str(error), error.problems, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        problems = [
            {"path": ".".join(str(step) for step in each["loc"]), "message": str(each["msg"])[:500]}
            for each in error.errors()[:20]
        ]
        return _said(422, "invalid", "a value is not allowed", problems)

    @app.exception_handler(HTTPException)
    async def unknown(_request: Request, error: HTTPException) -> JSONResponse:
        code = _CODES.get(error.status_code, "refused")
        return _said(error.status_code, code, str(error.detail), (), dict(error.headers or {}))


def _said(
    status: int,
    code: str,
    message: str,
    problems: Sequence[Mapping[str, Any]],
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    body = models.Error(
        error=models.ErrorBody(code=code, message=message, problems=[models.Problem(**each) for each in problems])
    )
    return JSONResponse(body.model_dump(), status, headers=dict(headers or {}))
