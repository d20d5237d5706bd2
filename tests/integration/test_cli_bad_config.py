"""Everything that a configuration can get wrong: exit code 3, file and line, what was found, and the nearest right name."""

from __future__ import annotations

import json

import pytest
from tests.integration.cli_project import GOOD, Project


def _with(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


CASES = {
    "a key with a typo": (_with("threshold:", "treshold:"), ":8: ", "'threshold'"),
    "a top key with a typo": (_with("strategies:", "strategeis:"), ":5: ", "'strategies'"),
    "a type with a typo": (_with("momentum", "momentm"), ":7: ", "'momentum'"),
    "a dotted path as a type": (_with("momentum", "os.system"), ":7: ", "unknown strategy type"),
    "a policy with a typo": (
        _with("momentum", "hybrid_momentum").replace("{lookback", "{model_path: a.onnx, policy: majorty, lookback"),
        ":8: ",
        "'majority'",
    ),
    "a broker that is not there": (_with("[1]\n", "[1]\n    brokers: [papr]\n"), ":10: ", "'paper'"),
    "a broker type with a typo": (GOOD + "brokers: {out: {type: jsonll, path: x}}\n", ":10: ", "'jsonl'"),
    "text for a number": (_with("lookback_periods: 3", "lookback_periods: three"), ":8: ", "three"),
    "a fraction for a whole number": (_with("lookback_periods: 3", "lookback_periods: 3.5"), ":8: ", "3.5"),
    "true for a number": (_with("lookback_periods: 3", "lookback_periods: true"), ":8: ", "true"),
    "NaN": (_with("0.01", ".nan"), ":8: ", "threshold"),
    "infinity": (_with("0.01", ".inf"), ":8: ", "threshold"),
    "a negative number": (_with("0.01", "-0.01"), ":8: ", "≥ 0"),
    "zero where more is needed": (_with("position_size: 10", "position_size: 0"), ":8: ", "> 0"),
    "an id that is there twice": (
        GOOD + "  - {id: mom, strategy_type: momentum, instruments: [1]}\n",
        ":10: ",
        "twice",
    ),
    "a key that is there twice": (
        _with("    instruments: [1]", "    instruments: [1]\n    instruments: [2]"),
        ":10: ",
        "twice",
    ),
    "an empty file": ("", ":1: ", "empty"),
    "only a comment": ("# nothing\n", ":1: ", "empty"),
    "a list": ("- 1\n- 2\n", ":1: ", "mapping"),
    "a text": ("just text\n", ":1: ", "mapping"),
    "broken YAML": ("strategies: [\n", "", "not valid YAML"),
    "tabs": ("strategies:\n\t- id: a\n", ":2: ", "not valid YAML"),
    "a Python tag": ("strategies: !!python/object/apply:os.system ['touch owned']\n", ":1: ", "tags are not read"),
    "another tag": ("strategies: !include rows.yaml\n", ":1: ", "tags are not read"),
    "an alias bomb": (
        "a: &a [1,1,1,1,1,1,1,1,1,1]\n"
        + "".join(f"{b}: &{b} [{','.join(['*' + a] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
        "",
        "too many",
    ),
    "an alias in itself": ("a: &a [*a]\n", "", "itself"),
    "deep nesting": ("a: " + "[" * 3000 + "]" * 3000 + "\n", "", "nested too deeply"),
    "no strategies": ("version: 1\n", "", "strategies: required"),
    "another version": (_with("version: 1", "version: 9"), ":1: ", "version"),
    "no instruments": (_with("    instruments: [1]\n", ""), "", "instruments"),
    "an include that matches nothing": ("strategies: {include: rows/*.yaml}\n", ":1: ", "no file matches"),
    "control characters": ("strategies: \x00\n", "", "not valid YAML"),
}


@pytest.mark.parametrize("command", ["check", "replay"])
@pytest.mark.parametrize(("text", "place", "message"), CASES.values(), ids=CASES.keys())
def test_it_is_refused_with_its_place(project: Project, text: str, place: str, message: str, command: str):
    project.config(text)
    project.ticks([100, 101])
    more = ("--ticks", "ticks.csv", "--signals", "s.jsonl") if command == "replay" else ()
    answer = project.run(command, "anystrat.yaml", *more)
    answer.refused(3, f"anystrat.yaml{place}", message)
    assert answer.out == ""
    assert not (project / "owned").exists()
    assert not list(project.path.glob("s.jsonl*"))


def test_all_problems_come_at_once_one_a_line(project: Project):
    project.config(_with("threshold: 0.01", "threshold: -1, lookbak: 3").replace("seed: 7", "seed: x"))
    answer = project.run("check")
    answer.refused(3, "3 problems")
    lines = answer.err.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("anystrat.yaml:") for line in lines[:3])


@pytest.mark.parametrize("arguments", [("check",), ("replay", "--ticks", "ticks.csv", "--signals", "s.jsonl")])
def test_problems_as_json(project: Project, arguments: tuple[str, ...]):
    project.config(_with("threshold:", "treshold:"))
    answer = project.run(*arguments, "--json")
    assert answer.code == 3
    assert answer.err == ""
    assert answer.json["ok"] is False
    (problem,) = answer.json["problems"]
    assert problem["line"] == 8
    assert problem["nearest"] == "threshold"
    assert problem["path"] == "strategies[0].parameters.treshold"


def test_what_is_refused_only_by_the_engine_is_the_same_json_from_both(project: Project):
    project.config(_with("strategies:", "instruments: [{token: 1, calendar: XNOWHERE}]\nstrategies:"))
    project.ticks([100, 101])
    checked, replayed = project.run("check", "--json"), project.run("replay", "--ticks", "ticks.csv", "--json")
    assert (checked.code, replayed.code) == (3, 3)
    assert checked.json == replayed.json
    assert replayed.err == ""


@pytest.mark.parametrize(
    ("name", "message"),
    [("missing.yaml", "there is no such file"), ("anystrat.yml", "did you mean 'anystrat.yaml'?")],
)
def test_a_file_that_is_not_there(project: Project, name: str, message: str):
    project.config()
    project.run("check", name).refused(3, message)


def test_an_empty_directory_and_bytes_that_are_no_text(project: Project):
    (project / "empty").mkdir()
    project.run("check", "empty").refused(3, "holds no configuration")
    project.write("binary.yaml", b"\xff\xfe\x00a\x00b\x9d")
    project.run("check", "binary.yaml").refused(3, "binary.yaml")


def test_secrets_are_never_shown(project: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MY_TOKEN", "hunter2hunter2")
    project.config(GOOD + "brokers: {out: {type: webhook, url: 'ftp://${MY_TOKEN}@host', token: '${MY_TOKEN}'}}\n")
    answer = project.run("check", "-v")
    answer.refused(3, "url")
    assert "hunter2" not in answer.err + answer.out


def test_overrides_from_the_environment_are_checked_too(project: Project, monkeypatch: pytest.MonkeyPatch):
    project.config()
    monkeypatch.setenv("ANYSTRAT__RUN__RNG_SEDE", "3")
    project.run("check").refused(3, "ANYSTRAT__RUN__RNG_SEDE")


def test_what_would_run(project: Project):
    project.config(GOOD + "  - {id: off, strategy_type: breakout, instruments: [1, 2], enabled: false}\n")
    answer = project.run("check")
    assert answer.code == 0
    assert "The configuration is valid." in answer.out
    rows = {line.split()[0]: line.split() for line in answer.out.splitlines() if line}
    assert rows["mom"] == ["mom", "momentum", "3", "ticks", "AAA", "paper", "ok"]
    assert rows["off"][-1] == "disabled"
    report = project.run("check", "--json").json
    assert report["ok"] is True
    assert report["strategies"][0]["history"] == 3
    assert report["executors"] == 1


def test_nothing_enabled_is_worth_a_warning(project: Project):
    project.config(GOOD + "    enabled: false\n")
    answer = project.run("check")
    assert answer.code == 0
    assert "no strategy is enabled" in answer.err


def test_the_schema_accepts_what_loads(project: Project):
    schema = json.loads(project.run("schema").out)
    assert schema["properties"]["strategies"]
    assert json.loads(project.run("schema", "--rows").out)["title"] == "anystrat rows"


def test_types(project: Project):
    listed = project.run("types", "--json").json["types"]
    kinds = {each["kind"] for each in listed}
    assert kinds == {
        "rules",
        "ml",
        "hybrid",
        "policy",
        "validator",
        "common",
        "feature",
        "source",
        "broker",
        "journal",
        "history",
    }
    one = project.run("types", "momentum", "--json").json["types"]
    assert [each["name"] for each in one[0]["parameters"]] == ["lookback_periods", "threshold", "position_size"]
    assert "ticks" in project.run("types", "momentum").out
    assert "k + 1 prices" in project.run("types", "ret_20").out
    assert project.run("types", "nats").out.count("nats (") == 2
    project.run("types", "momentun").refused(2, "did you mean 'momentum'?")


@pytest.mark.parametrize("name", ["momentum", "mean_reversion", "breakout", "sma_crossover"])
def test_the_example_of_a_rules_type_loads(project: Project, name: str):
    page = project.run("types", name).out
    project.config(page[page.index("strategies:") :])
    assert project.run("check").code == 0
