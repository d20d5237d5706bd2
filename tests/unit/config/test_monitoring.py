"""The sections `metrics`, `tracing` and `log`."""

from __future__ import annotations

import pytest

from anystrat.domain.configuration import LogSettings, MetricsSettings, Secret, TracingSettings

ROWS = "strategies: []\n"


def test_without_the_sections_nothing_listens_and_nothing_is_traced(load) -> None:
    configuration = load(ROWS)
    assert (configuration.metrics, configuration.tracing) == (None, None)
    assert configuration.log == LogSettings("console", "info")


def test_an_empty_section_turns_it_on_with_its_defaults(load) -> None:
    configuration = load(ROWS + "metrics: {}\ntracing: {}\n")
    assert configuration.metrics == MetricsSettings("127.0.0.1", 9464, expose=False, hosts=(), sample=0.01)
    assert configuration.tracing == TracingSettings(0.01, None, {})


def test_every_key_is_read(load) -> None:
    configuration = load(
        ROWS + "metrics: {host: 0.0.0.0, port: 0, expose: true, hosts: [box.lan], sample: 0}\n"
        "tracing: {sample: 1, endpoint: 'http://localhost:4318/v1/traces', headers: {authorization: '${TOKEN}'}}\n"
        "log: {format: json, level: warning}\n",
        {"TOKEN": "Bearer x"},
    )
    assert configuration.metrics == MetricsSettings("0.0.0.0", 0, expose=True, hosts=("box.lan",), sample=0.0)
    assert configuration.tracing == TracingSettings(
        1.0, "http://localhost:4318/v1/traces", {"authorization": Secret("Bearer x")}
    )
    assert "Bearer" not in repr(configuration)
    assert configuration.log == LogSettings("json", "warning")


def test_the_environment_overrides_them(load) -> None:
    configuration = load(ROWS + "metrics: {}\n", {"ANYSTRAT__METRICS__PORT": "9000", "ANYSTRAT__LOG__FORMAT": "json"})
    assert configuration.metrics is not None
    assert (configuration.metrics.port, configuration.log.format) == (9000, "json")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_this_machine_needs_no_flag(load, host) -> None:
    assert load(ROWS + f"metrics: {{host: '{host}'}}\n").metrics.host == host


@pytest.mark.parametrize(
    ("text", "path", "line", "says"),
    [
        ("metrics:\n  host: 0.0.0.0\n", "metrics.host", 3, "`expose: true`"),
        ("metrics: {host: '::'}\n", "metrics.host", 2, "`expose: true`"),
        ("metrics: {host: example.org, expose: true}\n", "metrics.host", 2, "must be an address, or localhost"),
        ("metrics: {port: 70000}\n", "metrics.port", 2, "out of bounds"),
        ("metrics: {sample: 1.5}\n", "metrics.sample", 2, "out of bounds"),
        ("metrics: {prot: 1}\n", "metrics.prot", 2, "unknown key"),
        ("tracing: {endpoint: 'localhost:4318'}\n", "tracing.endpoint", 2, "must begin with http:// or https://"),
        ("log: {format: xml}\n", "log.format", 2, "not one of the values"),
        ("log: loud\n", "log", 2, "must be a mapping"),
    ],
)
def test_what_cannot_be_is_refused_where_it_stands(refuse, text, path, line, says) -> None:
    (problem,) = refuse(ROWS + text)
    assert (problem.path, problem.line) == (path, line)
    assert says in problem.message
