"""What the API says of itself is asked of it: allowed values and others, by every path; nothing is a failure of ours."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode, openapi

from .desk import Desk

#: Has no end: what it tells is tested in `test_stream`.
STREAM = "/v1/events"
EXAMPLES = 8


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    loop = asyncio.new_event_loop()
    desk = Desk(tmp_path_factory.mktemp("desk"))
    loop.run_until_complete(desk.__aenter__())
    loop.run_until_complete(desk.ticks(100, 101, 103, 102))
    desk.do = loop.run_until_complete
    yield desk
    loop.run_until_complete(desk.__aexit__(None, None, None))
    loop.close()


@pytest.fixture(scope="module")
def operations(desk):
    document = desk.do(desk.api.get("/v1/openapi.json")).json()
    # Who may is asked in `test_security`; here it is always somebody who may.
    del document["components"]["securitySchemes"]
    for path in document["paths"].values():
        for operation in path.values():
            operation.pop("security", None)
    return [each.ok() for each in openapi.from_dict(document).get_all_operations()]


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value)
def test_every_answer_to_whatever_is_asked_is_one_that_the_document_names(desk, operations, mode):
    asked = {}

    def ask(operation):
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(operation.as_strategy(generation_mode=mode))
        def one(case):
            kwargs = case.as_transport_kwargs(base_url="http://127.0.0.1:8088")
            del kwargs["cookies"]
            if isinstance(kwargs.get("data"), bytes | str):
                kwargs["content"] = kwargs.pop("data")
            kwargs["headers"] = {
                name: value
                for name, value in kwargs["headers"].items()
                if name.lower() not in {"authorization", "host"}
            }
            response = desk.do(desk.api.request(**kwargs))
            case.validate_response(response)
            asked.setdefault(operation.path, set()).add(response.status_code)

        return one

    for operation in operations:
        takes = len(operation.query) + len(operation.body)
        if operation.path != STREAM and (takes or mode is GenerationMode.POSITIVE):
            ask(operation)()
    assert asked.keys() >= {"/v1/strategy", "/v1/commands", "/v1/kill", "/v1/dead-letters/replay"}
    wanted = 422 if mode is GenerationMode.NEGATIVE else 200
    assert any(wanted in found for found in asked.values())
