"""Rows in other files, and directories as configurations."""

from __future__ import annotations

import pytest

from anystrat.config import load_configuration
from anystrat.domain.errors import ConfigurationError

ROW = "id: {0}\nstrategy_type: momentum\ninstruments: [1]\n"


def ids(configuration):
    return [row.strategy_id for row in configuration.strategies]


class TestInclude:
    def test_files_come_in_the_order_of_their_names_each_a_row_or_a_list(self, load, tmp_path) -> None:
        configuration = load(
            "strategies: {include: strategies/*.yaml}\n",
            files={
                "strategies/b.yaml": "- {id: b1, strategy_type: momentum, instruments: [1]}\n- {id: b2, strategy_type: momentum, instruments: [1]}\n",
                "strategies/a.yaml": ROW.format("a"),
                "strategies/c.txt": "not read",
            },
        )

        assert ids(configuration) == ["a", "b1", "b2"]
        assert configuration.files == tuple(
            tmp_path / name for name in ("anystrat.yaml", "strategies/a.yaml", "strategies/b.yaml")
        )

    def test_a_list_may_mix_rows_and_references_and_keeps_their_order(self, load) -> None:
        configuration = load(
            "strategies:\n"
            "  - {id: first, strategy_type: momentum, instruments: [1]}\n"
            "  - {include: [more/z.yaml, more/a.yaml]}\n"
            "  - {id: last, strategy_type: momentum, instruments: [1]}\n",
            files={"more/a.yaml": ROW.format("a"), "more/z.yaml": ROW.format("z")},
        )

        assert ids(configuration) == ["first", "z", "a", "last"]

    def test_paths_inside_are_relative_to_the_included_file(self, load, tmp_path) -> None:
        configuration = load(
            "strategies: {include: '**/*.row.yaml'}\n",
            files={
                "deep/er/x.row.yaml": "id: x\nstrategy_type: ml_momentum\ninstruments: [1]\nparameters: {model_path: m/n.onnx}\n"
            },
        )

        assert configuration.strategies[0].parameters.model_path == str(tmp_path / "deep/er/m/n.onnx")

    def test_the_row_of_a_file_without_an_id_goes_by_the_name_of_the_file(self, load) -> None:
        text = "strategy_name: 'NIFTY50 hybrid momentum'\nstrategy_type: momentum\nvalidator: 'standard'\ninstruments: [1]\n"
        configuration = load("strategies: {include: s/*.yaml}\n", files={"s/nifty.yaml": text})

        assert (configuration.strategies[0].strategy_id, configuration.strategies[0].name) == (
            "nifty",
            "NIFTY50 hybrid momentum",
        )

    def test_an_included_file_reads_the_environment_as_the_first_one_does(self, load) -> None:
        configuration = load(
            "strategies: {include: '${WHERE}/*.yaml'}\n",
            {"WHERE": "s", "ID": "named"},
            {"s/a.yaml": ROW.format("${ID}")},
        )

        assert ids(configuration) == ["named"]

    def test_a_directory_whose_name_is_a_pattern_is_taken_as_it_is(self, tmp_path, catalog) -> None:
        home = tmp_path / "[odd]*"
        (home / "s").mkdir(parents=True)
        (home / "s/a.yaml").write_text(ROW.format("a"), encoding="utf-8")
        (home / "c.yaml").write_text("strategies: {include: s/*.yaml}\n", encoding="utf-8")

        assert ids(load_configuration(home / "c.yaml", catalog, environ={})) == ["a"]

    def test_problems_name_the_included_file_its_line_and_the_path_in_it(self, refuse) -> None:
        problems = refuse(
            "strategies:\n  - {include: s/*.yaml}\n",
            files={
                "s/a.yaml": "# a remark\n" + ROW.format("a") + "parameters:\n  threshold: x\n",
                "s/b.yaml": "- {id: b, strategy_type: momentum, instruments: [x]}\n",
                "s/c.yaml": "id: [\n",
                "s/d.yaml": "",
                "s/e.yaml": "strategies: []\n",
                "s/f.yaml": "5\n",
            },
        )

        found = [(problem.file.rpartition("/")[2], problem.line, problem.path) for problem in problems]
        assert found == [
            ("a.yaml", 6, "parameters.threshold"),
            ("b.yaml", 1, "[0].instruments[0]"),
            ("c.yaml", 2, ""),
            ("d.yaml", 1, ""),
            ("e.yaml", 1, "strategies"),
            ("f.yaml", 1, ""),
        ]

    def test_an_id_that_another_file_has_too_is_refused_with_both_places(self, refuse) -> None:
        (problem,) = refuse(
            "strategies: {include: s/*.yaml}\n", files={"s/a.yaml": ROW.format("x"), "s/b.yaml": "\n" + ROW.format("x")}
        )

        assert problem.file.endswith("b.yaml")
        assert problem.line == 2
        assert "s/a.yaml on line 1" in problem.message

    @pytest.mark.parametrize(
        ("text", "path"),
        [
            ("strategies: {include: nothing/*.yaml}\n", "strategies.include"),
            ("strategies:\n  - {include: [nothing.yaml]}\n", "strategies[0].include[0]"),
            ("strategies: {include: 5}\n", "strategies.include"),
            ("strategies: {include: ''}\n", "strategies.include"),
            ("strategies: {include: [5]}\n", "strategies.include[0]"),
            ("strategies: {include: anystrat.yaml, exclude: b}\n", "strategies.exclude"),
        ],
    )
    def test_a_reference_that_leads_nowhere_is_refused(self, refuse, text, path) -> None:
        assert path in {problem.path for problem in refuse(text)}


class TestDirectory:
    def load(self, directory, catalog, files):
        for name, text in files.items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text(text, encoding="utf-8")
        return load_configuration(directory, catalog, environ={})

    def refuse(self, directory, catalog, files):
        with pytest.raises(ConfigurationError) as refusal:
            self.load(directory, catalog, files)
        return [(problem.file.rpartition("/")[2], problem.path, problem.message) for problem in refusal.value.problems]

    def test_its_files_merge_in_the_order_of_their_names(self, tmp_path, catalog) -> None:
        configuration = self.load(
            tmp_path,
            catalog,
            {
                "a-row.yaml": ROW.format("a"),
                "b-rows.json": '[{"id": "b", "strategy_type": "momentum", "instruments": [1]}]',
                "c-main.yml": "version: 1\nrun: {name: merged}\nstrategies: [{id: c, strategy_type: momentum, instruments: [1]}, {include: more/*.yaml}]\n",
                "d.yaml": "version: 1\nstrategies: [{id: d, strategy_type: momentum, instruments: [1]}]\n",
                "e-nameless.yaml": "strategy_type: momentum\ninstruments: [1]\n",
                "more/x.yaml": ROW.format("x"),
                "notes.txt": "not read",
                ".hidden.yaml": "[",
            },
        )

        assert ids(configuration) == ["a", "b", "c", "x", "d", "e-nameless"]
        assert configuration.run.name == "merged"
        assert configuration.directory == tmp_path

    def test_only_one_file_may_hold_more_than_rows(self, tmp_path, catalog) -> None:
        problems = self.refuse(
            tmp_path,
            catalog,
            {"a.yaml": "run: {name: a}\nstrategies: []\n", "b.yaml": "run: {name: b}\njournal: {type: memory}\n"},
        )

        assert [(file, path) for file, path, _ in problems] == [("b.yaml", "")]
        assert "a.yaml does" in problems[0][2]

    def test_problems_name_the_file_of_each_row(self, tmp_path, catalog) -> None:
        problems = self.refuse(
            tmp_path,
            catalog,
            {
                "a.yaml": "strategies: [{id: a, strategy_type: momentm, instruments: [1]}]\n",
                "b.yaml": "id: b\nstrategy_type: momentum\n",
                "c.yaml": "[",
                "d.yaml": "",
                "e.yaml": "5\n",
            },
        )

        assert {file for file, _, _ in problems} == {"a.yaml", "b.yaml", "c.yaml", "d.yaml", "e.yaml"}

    def test_a_directory_without_configuration_is_refused(self, tmp_path, catalog) -> None:
        assert self.refuse(tmp_path, catalog, {"readme.md": ""})[0][2] == "the directory holds no configuration"

    def test_a_file_that_another_one_includes_is_read_once(self, tmp_path, catalog) -> None:
        configuration = self.load(
            tmp_path,
            catalog,
            {"main.yaml": "run: {name: a}\nstrategies: {include: row-*.yaml}\n", "row-a.yaml": ROW.format("a")},
        )

        assert ids(configuration) == ["a"]
