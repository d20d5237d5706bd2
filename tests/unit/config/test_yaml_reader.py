"""Files that nobody has vouched for."""

from __future__ import annotations

import time

import pytest

from anystrat.config import load_configuration
from anystrat.config.yaml_reader import MAX_BYTES
from anystrat.domain.errors import ConfigurationError


def only(problems):
    assert len(problems) == 1, "\n".join(map(str, problems))
    return problems[0]


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing but a remark\n", "---\n", "\ufeff"])
def test_an_empty_file_is_refused_by_name(refuse, text) -> None:
    problem = only(refuse(text))

    assert problem.file.endswith("anystrat.yaml")
    assert "empty" in problem.message or problem.found == "nothing"


@pytest.mark.parametrize("text", ["- a\n- b\n", "just text\n", "5\n"])
def test_a_file_that_is_no_mapping_is_refused(refuse, text) -> None:
    assert "must be a mapping" in only(refuse(text)).message


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("strategies: [\n", 2),
        ("strategies: [}\n", 1),
        ("a: b: c\n", 1),
        ("run:\n\tname: a\n", 2),
        ("run: {name: 'a}\n", 2),
        ("a: *nowhere\n", 1),
        ("a: 1\n---\nb: 2\n", 2),
        ("run: @name\n", 1),
        ("run: {name: a\x00}\n", 1),
    ],
)
def test_broken_yaml_is_refused_with_its_line(refuse, text, line) -> None:
    problem = only(refuse(text))

    assert problem.message.startswith("this is not valid YAML: ")
    assert problem.line == line


def test_a_second_document_is_refused(refuse) -> None:
    assert "one document is expected" in only(refuse("strategies: []\n---\nstrategies: []\n")).message


@pytest.mark.parametrize("directive", ["%YAML 1.1\n---\n", "%YAML 2.0\n---\n"])
def test_another_version_of_yaml_is_refused_instead_of_read_differently(refuse, directive) -> None:
    assert "only YAML 1.2" in only(refuse(directive + "strategies: []\n")).message


def test_a_file_that_says_yaml_1_2_is_read(load) -> None:
    assert load("%YAML 1.2\n---\nstrategies: []\n").strategies == ()


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system [touch PROOF]",
        "!!python/name:os.system",
        "!!python/object/new:subprocess.Popen [[touch, PROOF]]",
        "!!python/module:antigravity",
        "!!binary aGk=",
        "!!set {a, b}",
        "!!omap [a: 1]",
        "!custom 5",
        "!!map [1]",
        "!!seq {a: 1}",
        "!<tag:yaml.org,2002:python/object/apply:os.system> [touch PROOF]",
    ],
)
def test_a_tag_is_refused_and_nothing_runs(refuse, tmp_path, monkeypatch, tag) -> None:
    monkeypatch.chdir(tmp_path)

    problem = only(refuse(f"strategies: []\nrun:\n  name: {tag}\n"))

    assert (problem.path, problem.line) == ("run.name", 3)
    assert problem.message == "tags are not read"
    assert not (tmp_path / "PROOF").exists()


@pytest.mark.parametrize(("written", "seed"), [("!!int 5", 5), ("0x1F", 31), ("0o17", 15), ("010", 10), ("+7", 7)])
def test_numbers_are_read_as_yaml_1_2_writes_them(load, written, seed) -> None:
    assert load(f"run: {{rng_seed: {written}}}\nstrategies: []\n").run.rng_seed == seed


@pytest.mark.parametrize("written", ["!!int five", "!!float five", "!!bool maybe", "!!int ''", "9" * 5000])
def test_a_number_that_is_none_is_refused(refuse, written) -> None:
    assert refuse(f"run: {{rng_seed: {written}}}\nstrategies: []\n")[0].path == "run.rng_seed"


@pytest.mark.parametrize("written", ["1_000", "-1_0", "0x1_F", "1_0.5"])
def test_a_number_with_underscores_is_text_as_in_yaml_1_2(load, refuse, written) -> None:
    assert load(f"run: {{name: {written}}}\nstrategies: []\n").run.name == written

    problem = only(refuse(f"run: {{rng_seed: {written}}}\nstrategies: []\n"))
    assert (problem.path, problem.found) == ("run.rng_seed", f"the text '{written}'")


def test_a_duplicate_key_is_refused_with_both_lines(refuse) -> None:
    problem = only(refuse("run:\n  name: a\n  shards: 2\n  name: b\nstrategies: []\n"))

    assert (problem.path, problem.line) == ("run.name", 4)
    assert "line 2" in problem.message


def test_every_duplicate_key_of_a_file_is_said(refuse) -> None:
    problems = refuse("run: {name: a, name: b}\nrun: {}\nstrategies: [{id: a, id: b}]\n")

    assert [problem.path for problem in problems] == ["run.name", "run", "strategies[0].id"]


@pytest.mark.parametrize("key", ["1", "true", "null", "1.5", "[a, b]", "{a: b}", "? [a]\n"])
def test_a_key_that_is_no_text_is_refused(refuse, key) -> None:
    assert any("must be text" in problem.message for problem in refuse(f"run:\n  {key}: 5\nstrategies: []\n"))


def test_a_billion_laughs_are_refused_at_once(refuse) -> None:
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{i}: &a{i} [" + ", ".join([f"*a{i - 1}"] * 9) + "]" for i in range(1, 30)]
    began = time.perf_counter()

    problem = only(refuse("\n".join(lines)))

    assert "too many" in problem.message
    assert time.perf_counter() - began < 5


def test_laughs_by_merge_keys_are_refused_at_once(refuse) -> None:
    lines = ["a0: &a0 {b: 1}"]
    lines += [f"a{i}: &a{i} {{<<: [" + ", ".join([f"*a{i - 1}"] * 9) + f"], c{i}: 1}}" for i in range(1, 30)]

    assert "too many" in only(refuse("\n".join(lines))).message


def test_a_value_that_contains_itself_is_refused(refuse) -> None:
    assert "contains itself" in only(refuse("run: &a [*a]\n")).message
    assert "contains itself" in only(refuse("run: &a {name: *a}\n")).message


@pytest.mark.parametrize("depth", [100, 20_000])
def test_deep_nesting_is_refused(refuse, depth) -> None:
    assert "nested too deeply" in only(refuse("run: " + "[" * depth + "]" * depth)).message


def test_a_file_that_is_too_large_is_refused_unread(refuse) -> None:
    problem = only(refuse("# " + "x" * MAX_BYTES))

    assert problem.message == "the file is too large"


def test_a_file_that_is_no_utf_8_is_refused_with_its_line(tmp_path, catalog) -> None:
    path = tmp_path / "anystrat.yaml"
    path.write_bytes(b"version: 1\nrun: {name: \xff}\n")

    with pytest.raises(ConfigurationError, match=r"anystrat\.yaml:2: the file is not UTF-8 text"):
        load_configuration(path, catalog, environ={})


def test_a_missing_file_is_refused_with_the_nearest(tmp_path, catalog) -> None:
    (tmp_path / "anystrat.yaml").touch()

    with pytest.raises(
        ConfigurationError, match=r"anystrt\.yaml: there is no such file; did you mean '.*/anystrat\.yaml'"
    ):
        load_configuration(tmp_path / "anystrt.yaml", catalog, environ={})


def test_the_merge_key_takes_mappings_only(refuse) -> None:
    assert "`<<`" in refuse("run: {<<: 5}\nstrategies: []\n")[0].message
