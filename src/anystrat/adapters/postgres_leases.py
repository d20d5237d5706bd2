"""Leases on parts, in a PostgreSQL table: who has what, until when by the database's clock."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from anystrat.domain.cluster import ClusterView, PartLease, PartState
from anystrat.domain.errors import AnystratError, MissingExtra

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]

#: Nothing that is asked here takes longer on a database that is well.
_PATIENCE_SEC: Final = 2
#: `cluster` is one row: what all members must agree on, and what holds for all of them.
_TABLES: Final = """
CREATE SCHEMA IF NOT EXISTS {schema};
CREATE TABLE IF NOT EXISTS {schema}.cluster (
    one BOOLEAN PRIMARY KEY DEFAULT true CHECK (one), layout TEXT NOT NULL, killed BOOLEAN NOT NULL DEFAULT false);
CREATE TABLE IF NOT EXISTS {schema}.cluster_member (name TEXT PRIMARY KEY, expires_at TIMESTAMPTZ NOT NULL);
CREATE TABLE IF NOT EXISTS {schema}.part_lease (
    part INTEGER PRIMARY KEY, owner TEXT NOT NULL DEFAULT '', epoch BIGINT NOT NULL DEFAULT 0,
    expires_at TIMESTAMPTZ NOT NULL DEFAULT '-infinity', state TEXT NOT NULL DEFAULT 'free',
    problem TEXT NOT NULL DEFAULT '')
"""
_FIRST_ROW: Final = "INSERT INTO {schema}.cluster (layout) VALUES (%s) ON CONFLICT DO NOTHING"
_ALL_PARTS: Final = "INSERT INTO {schema}.part_lease (part) SELECT generate_series(0, %s - 1) ON CONFLICT DO NOTHING"
_BE_THERE: Final = """
INSERT INTO {schema}.cluster_member VALUES (%s, clock_timestamp() + make_interval(secs => %s))
ON CONFLICT (name) DO UPDATE SET expires_at = EXCLUDED.expires_at
"""
_RENEW: Final = """
UPDATE {schema}.part_lease SET expires_at = clock_timestamp() + make_interval(secs => %s)
WHERE owner = %s AND expires_at > clock_timestamp() RETURNING part
"""
_LEASES: Final = """
SELECT part, owner, epoch, greatest(-1e9, extract(epoch FROM expires_at - now))::float8, state, problem
FROM {schema}.part_lease, (SELECT clock_timestamp() AS now) AS clock WHERE part < %s ORDER BY part
"""
_MEMBERS: Final = "SELECT name FROM {schema}.cluster_member WHERE expires_at > clock_timestamp() ORDER BY name"
_TAKE: Final = """
UPDATE {schema}.part_lease SET owner = %s, epoch = epoch + 1, state = 'starting', problem = '',
    expires_at = clock_timestamp() + make_interval(secs => %s)
WHERE part IN (SELECT part FROM {schema}.part_lease WHERE part < %s AND expires_at <= clock_timestamp()
    ORDER BY expires_at, part LIMIT %s FOR UPDATE SKIP LOCKED) RETURNING part, epoch
"""
_NOTE: Final = "UPDATE {schema}.part_lease SET state = %s WHERE part = %s AND owner = %s AND epoch = %s"
_RELEASE: Final = """
UPDATE {schema}.part_lease SET owner = '', state = 'free', problem = %s,
    expires_at = clock_timestamp() + make_interval(secs => %s) WHERE part = %s AND owner = %s AND epoch = %s
"""
_LEAVE: Final = "DELETE FROM {schema}.cluster_member WHERE name = %s"
_LONGEST_PROBLEM: Final = 500


class LeasesUnavailable(AnystratError):
    """The database of the leases does not answer, or refuses; asking again later may help."""


class ClusterRefused(AnystratError):
    """This machine's configuration is not that of the cluster that it would join."""

    exit_code = 3


class PostgresLeases:
    """The leases of one cluster, in a schema, as one member sees them. A connection that was lost is made anew.

    Raises `LeasesUnavailable` from everything, and `MissingExtra`. `url` may hold a password, and is in no message.
    """

    def __init__(self, url: str, schema: str, parts: int, *, member: str = "", lease_sec: float = 10.0) -> None:
        try:
            import psycopg
        except ImportError:
            raise MissingExtra("sharing a run out among machines", "postgres") from None
        self._psycopg: Any = psycopg
        self._url = url
        self._schema = schema
        self._parts = parts
        self.member = member
        self._lease_sec = lease_sec
        self._channel = f"anystrat cluster {schema}"[:63]
        self._connection: Connection | None = None

    @property
    def file_number(self) -> int | None:
        """The connection's socket; None where there is none."""
        return None if self._connection is None or self._connection.closed else self._connection.fileno()

    def join(self, layout: str) -> None:
        """Make the tables where they are missing. Raises `ClusterRefused` where `layout` is not that of the others."""
        tables = [(each, ()) for each in _TABLES.split(";")]
        first = [(_FIRST_ROW, (layout,)), (_ALL_PARTS, (self._parts,)), ("SELECT layout FROM {schema}.cluster", ())]
        found = self._asked(*tables, *first, alone=True)
        if found[0][0] != layout:
            raise ClusterRefused(
                f"the cluster in PostgreSQL, schema {self._schema}, shares its run out as {found[0][0]}, and this "
                f"configuration as {layout}: the parts of a run that has journals stay as they are; name another `schema` "
                "for another run"
            )

    def renew(self) -> frozenset[int]:
        """Be there, and keep what this member has, for a lease from now on; what it still has."""
        member, lease = self.member, self._lease_sec
        return frozenset(part for (part,) in self._asked((_BE_THERE, (member, lease)), (_RENEW, (lease, member))))

    def view(self) -> ClusterView:
        """Everything, now. Raises `LeasesUnavailable` where there is no cluster yet, too."""
        leases = self._asked((_LEASES, (self._parts,)))
        switch = self._asked(("SELECT killed FROM {schema}.cluster", ()))
        return ClusterView(
            tuple(
                PartLease(part, owner, epoch, left, PartState(state), problem)
                for part, owner, epoch, left, state, problem in leases
            ),
            tuple(name for (name,) in self._asked((_MEMBERS, ()))),
            bool(switch and switch[0][0]),
        )

    def take(self, most: int) -> list[tuple[int, int]]:
        """Take free parts, at most so many: (part, epoch) each."""
        found = self._asked((_TAKE, (self.member, self._lease_sec, self._parts, most)))
        return [(part, epoch) for part, epoch in found]

    def note(self, part: int, epoch: int, state: PartState) -> None:
        """Say how a part is, which is this member's with this epoch."""
        self._asked((_NOTE, (state.value, part, self.member, epoch)))

    def release(self, part: int, epoch: int, problem: str, hold_sec: float = 0.0) -> None:
        """Give a part back. Nobody takes it for `hold_sec`: after something went wrong, the next would not do better."""
        self._asked((_RELEASE, (problem[:_LONGEST_PROBLEM], hold_sec, part, self.member, epoch)))

    def leave(self) -> None:
        """Be no member any more."""
        self._asked((_LEAVE, (self.member,)))

    def set_killed(self, *, on: bool) -> None:
        """The kill switch of all parts; members are told at once."""
        self._asked(("UPDATE {schema}.cluster SET killed = %s", (on,)), ("SELECT pg_notify(%s, '')", (self._channel,)))

    def heard(self) -> None:
        """Take what the connection brought: whatever it was, there is something to look at."""
        connection = self._connection
        if connection is not None:
            with suppress(self._psycopg.Error):  # asked something next, it fails and is made anew
                for _ in connection.notifies(timeout=0):
                    pass

    def close(self) -> None:
        """Give the connection back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(self._psycopg.Error):
                connection.close()

    def _asked(self, *statements: tuple[str, Sequence[Any]], alone: bool = False) -> list[tuple[Any, ...]]:
        """The rows of the last statement; all of them are one transaction."""
        sql = self._psycopg.sql
        schema = sql.Identifier(self._schema)
        try:
            connection = self._connected()
            with connection.transaction():
                if alone:
                    # `IF NOT EXISTS` of two at once would fail one of them.
                    connection.execute(
                        "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"anystrat cluster {self._schema}",)
                    )
                rows: list[tuple[Any, ...]] = []
                for statement, values in statements:
                    cursor = connection.execute(sql.SQL(statement).format(schema=schema), values)
                    rows = cursor.fetchall() if cursor.description is not None else []
                return rows
        except (self._psycopg.Error, OSError) as error:
            self.close()
            said = getattr(getattr(error, "diag", None), "message_primary", None) or type(error).__name__
            raise LeasesUnavailable(f"the leases in PostgreSQL, schema {self._schema}: {said}") from None

    def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            made: Connection = self._psycopg.connect(
                self._url,
                autocommit=True,
                connect_timeout=_PATIENCE_SEC,
                application_name="anystrat cluster",
                tcp_user_timeout=_PATIENCE_SEC * 1000,
                options=f"-c statement_timeout={_PATIENCE_SEC * 1000}",
            )
            self._connection = made
            sql = self._psycopg.sql
            made.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._channel)))
        return self._connection


class Claim:
    """What a part's journal is opened with: whether this member still has the part, asked on the journal's own connection."""

    def __init__(self, schema: str, part: int, member: str, epoch: int) -> None:
        self._schema = schema
        self._values = (part, member, epoch)

    def holds(self, connection: Connection) -> bool:
        """Whether the lease is this one's and not over. Raises the driver's error."""
        from psycopg import sql

        statement = sql.SQL(
            "SELECT 1 FROM {}.part_lease WHERE part = %s AND owner = %s AND epoch = %s AND expires_at > clock_timestamp()"
        ).format(sql.Identifier(self._schema))
        return connection.execute(statement, self._values).fetchone() is not None
