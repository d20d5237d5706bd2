"""Speaks to a running service: finds where it listens, asks, and puts what it refuses into words."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Self

from anystrat.control.places import Access
from anystrat.domain.errors import AnystratError, ConfigurationError, MissingExtra, Problem

if TYPE_CHECKING:
    from types import TracebackType

    import httpx

#: Where a service on another machine is, and the token for it.
URL_VARIABLE: Final = "ANYSTRAT_CONTROL_URL"
TOKEN_VARIABLE: Final = "ANYSTRAT_CONTROL_TOKEN"  # noqa: S105  a variable's name
_PATIENCE_SEC: Final = 10.0


class NotAnswering(AnystratError):
    """No service answers; the text says where it was looked for."""


class Unauthorised(AnystratError):
    """The service knows no such token, or it is not good for this."""

    exit_code = 5


class RequestRefused(AnystratError):
    """The service answered why not. `code` is a word for programs."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


def named_access(environ: Mapping[str, str] = os.environ) -> Access | None:
    """How to reach the service that the environment names; None where it names none."""
    url = environ.get(URL_VARIABLE)
    return Access(url.rstrip("/"), environ.get(TOKEN_VARIABLE, ""), 0) if url else None


class ControlClient:
    """One conversation with a service. Raises `NotAnswering`, `Unauthorised`, `RequestRefused`, `MissingExtra`."""

    def __init__(self, access: Access, *, transport: httpx.BaseTransport | None = None) -> None:
        try:
            import httpx  # noqa: PLC0415  start-up budget: commands that find no service need none
        except ModuleNotFoundError:
            raise MissingExtra("speaking to a running service", "serve") from None
        self._access = access
        self._errors = httpx.HTTPError
        headers = {"authorization": f"Bearer {access.token}"} if access.token else {}
        verify: Any = True
        if access.certificate is not None:
            import ssl  # noqa: PLC0415  as above

            verify = ssl.create_default_context(cafile=access.certificate)
            # A certificate for a name, asked by this machine's own address: it is this very file that is trusted.
            verify.check_hostname = False
        self._client = httpx.Client(
            base_url=access.url,
            headers=headers,
            timeout=_PATIENCE_SEC,
            trust_env=False,
            verify=verify,
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        """What a path answers; parameters that are None are left out."""
        return self._asked("GET", path, params={name: value for name, value in parameters.items() if value is not None})

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Have something done."""
        return self._asked("POST", path, **({} if body is None else {"json": dict(body)}))

    def put(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Have something as it is said."""
        return self._asked("PUT", path, json=dict(body))

    def follow(self, seen: str | None = None, **parameters: Any) -> Iterator[dict[str, Any]]:
        """Outcomes behind the event `seen` as they happen, each with `kind`; comes back by itself after an interruption, as long as the service runs."""
        asked = {name: value for name, value in parameters.items() if value is not None}
        while True:
            headers = {} if seen is None else {"last-event-id": seen}
            try:
                with self._client.stream(
                    "GET", "/v1/events", params=asked, headers=headers, timeout=_PATIENCE_SEC * 6
                ) as answer:
                    if answer.status_code != 200:
                        answer.read()
                        self._checked(answer)
                    for event_id, kind, data in _events(answer.iter_lines()):
                        seen = event_id or seen
                        yield {"kind": kind, **data}
            except self._errors as error:
                if seen is None:
                    raise self._gone(error) from error
            # Ended by the other side: it stops, or this reader was too slow. Only a service that is there is asked again.
            self.get("/v1/health")
            asked["recent"] = 0

    def _asked(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        try:
            answer = self._client.request(method, path, **more)
        except self._errors as error:
            raise self._gone(error) from error
        return self._checked(answer)

    def _checked(self, answer: httpx.Response) -> dict[str, Any]:
        try:
            body: dict[str, Any] = answer.json()
        except ValueError:
            raise NotAnswering(
                f"{self._access.url} is no control API of anystrat (status {answer.status_code})"
            ) from None
        if answer.is_success or "error" not in body:
            return body
        error = body["error"]
        if answer.status_code in {401, 403}:
            raise Unauthorised(f"{self._access.url}: {error['message']}")
        if error["problems"] and error["code"] == "invalid_configuration":
            raise ConfigurationError([Problem(**each) for each in error["problems"]])
        problems = "; ".join(f"{each['path']}: {each['message']}" for each in error["problems"])
        raise RequestRefused(f"{error['message']}{f' ({problems})' if problems else ''}", error["code"])

    def _gone(self, error: Exception) -> NotAnswering:
        return NotAnswering(f"no service answers at {self._access.url} ({error}): is it running?")


def _events(lines: Iterator[str]) -> Iterator[tuple[str | None, str, dict[str, Any]]]:
    event_id, kind, data = None, "message", ""
    for line in lines:
        if not line:
            if data:
                yield event_id, kind, json.loads(data)
            event_id, kind, data = None, "message", ""
        elif line.startswith("id: "):
            event_id = line[4:]
        elif line.startswith("event: "):
            kind = line[7:]
        elif line.startswith("data: "):
            data += line[6:]
