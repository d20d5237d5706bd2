"""Which modules are mutated, with the tests that have to notice; and the mutants that may live, each with its reason."""

from __future__ import annotations

_POLICIES = ("confirm", "guardrail", "majority", "probability_weighted", "sizer", "threshold_escalation")
_DELIVERY = ("accounts", "attempt", "backoff", "breaker", "broker", "limiter", "paper", "queue", "verdicts")
_SQLITE = "tests/unit/adapters/sqlite_journal"

#: Modules together, as their tests are imported and collected once. Of all tests of a group only those that come past
#: the line of a mutant are asked.
_GROUPS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("tests/unit/runner/test_committer.py",): ("runner/committer.py",),
    ("tests/unit/runner/test_mailbox.py",): ("runner/mailbox.py",),
    ("tests/unit/runner/test_intake.py",): ("runner/acknowledging.py", "runner/intake.py"),
    ("tests/unit/runner/test_plan.py",): ("runner/plan.py",),
    ("tests/unit/runner/test_quarantine.py", "tests/unit/runner/test_shard.py"): (
        "runner/quarantine.py",
        "runner/turn.py",
    ),
    ("tests/unit/runner/test_shard.py", "tests/unit/runner/test_recovery.py"): (
        *(f"runner/{name}.py" for name in ("recovery", "shard", "tally")),
    ),
    (
        f"{_SQLITE}/test_lock.py",
        f"{_SQLITE}/test_transaction.py",
        f"{_SQLITE}/test_writer.py",
        f"{_SQLITE}/test_damage.py",
    ): (*(f"adapters/sqlite_journal/{name}.py" for name in ("writer", "transaction", "lock", "files", "inspection")),),
    ("tests/contract/test_journal.py", f"{_SQLITE}/test_compaction.py", f"{_SQLITE}/test_damage.py"): (
        *(f"adapters/journal_tables/{name}.py" for name in ("compaction", "journal", "lanes", "rows", "selection")),
        *(f"adapters/journal_tables/{name}.py" for name in ("tables", "writer")),
        *(f"adapters/{name}.py" for name in ("journal_memory", "journal_fates", "journal_book")),
    ),
    ("tests/unit/runner/delivery",): tuple(f"runner/delivery/{name}.py" for name in _DELIVERY),
    ("tests/unit/strategies/test_policies.py", "tests/unit/strategies/test_measure.py"): tuple(
        f"strategies/policies/{name}.py" for name in _POLICIES
    ),
    ("tests/unit/engine/test_gate.py", "tests/unit/engine/test_columns_gate.py", "tests/unit/engine/test_charges.py"): (
        *(f"engine/{name}.py" for name in ("checks", "fills", "recent")),
        "engine/columns/gate.py",
    ),
    (
        "tests/unit/engine",
        "tests/parity/test_columns.py",
        "tests/parity/test_reference.py",
        "tests/parity/test_deadlines.py",
    ): (
        *(f"engine/{name}.py" for name in ("decision", "executor", "state", "snapshot", "account")),
        *(f"engine/{name}.py" for name in ("engine", "sizing", "models", "supervision", "deadlines", "answers")),
        *(f"engine/columns/{name}.py" for name in ("evaluation", "grouping", "outcomes", "tails")),
    ),
    ("tests/parity/test_live.py",): tuple(f"engine/{name}.py" for name in ("lanes", "lane_signals", "live_blocks")),
}

SUBJECTS = {name: tests for tests, names in _GROUPS.items() for name in names}

_OFFSETS = "offsets begin at 0: nothing is below it but what there is not"
_OVERWRITTEN = "it is set before anybody reads it"

#: Of a module: {(line of the source, what): why no test can tell the mutant from the source, or need not}.
KNOWN: dict[str, dict[tuple[str, str], str]] = {
    "runner/mailbox.py": {
        ("self._room.set()", "self._room.set(): left out"): "at the start: it is cleared before anybody waits for it",
    },
    "adapters/sqlite_journal/lock.py": {
        ("self._file = -1", "1 is 2"): "any number below 0 is no file",
        (
            'file = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), MODE)',
            "0 is 1",
        ): "there is an O_CLOEXEC on every system but Windows",
        ("break", "break: continue"): "who holds the lock may take it again",
        ("if self._file >= 0:", "self._file >= 0: GtE is Gt"): "file 0 is the standard input",
        ("if self._file >= 0:", "0 is 1"): "file 0 is the standard input",
        (
            "os.lseek(file, 0, os.SEEK_SET)",
            "os.lseek(file, 0, os.SEEK_SET): left out",
        ): "only on Windows it has moved by then",
    },
    "adapters/sqlite_journal/writer.py": {
        ("self._wal_pages = 0", "0 is 1"): "the first commit sets it",
        (
            "connection = connect_to_look(self.path, vfs=self._vfs, busy_timeout_sec=self._busy_timeout_sec, alone=True)",
            "True is False",
        ): "it saves files that the connection that writes makes next",
        ("connection.close()", "connection.close(): left out"): "it closes itself when nobody has it any more",
        ("connection.config(library().SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)", "1 is 2"): "either is yes",
        ("connection.close(True)", "True is False"): "no statement is under way",
    },
    "engine/decision.py": {
        ("return min(quantity, LARGEST_QUANTITY + 1)", "1 is 2"): "either is beyond the largest",
        (
            "tick = self._state.book.instrument.ticks[moment.instrument] if timed or executor.isolation is not None else 0",
            "0 is 1",
        ): "nobody reads it where nothing is timed or isolated",
    },
    "engine/checks.py": {
        (
            "nearer = abs(after) < abs(position)",
            "abs(after) < abs(position): Lt is LtE",
        ): "a quantity of 0 was refused before, and a flip to the same size is no case of this branch",
        (
            "if limits.max_exposure[e] < math.inf:",
            "limits.max_exposure[e] < math.inf: Lt is LtE",
        ): "no sum is above an infinite limit: the branch saves time",
    },
    "engine/columns/gate.py": {
        ("if code < NOT_EVALUATED:", "code < NOT_EVALUATED: Lt is LtE"): "no judgement is this number",
        ("if code > 0:", "code > 0: Gt is GtE"): "what is counted under 0, emitted, nobody reads",
        ("if start > 0:", "start > 0: Gt is GtE"): "from the first tick on it is all of them",
    },
    "engine/snapshot.py": {
        ("engine.settle()", "engine.settle(): left out"): "without a compiler nothing is held back",
        (
            'for window, (numbers, rows) in zip(engine.windows, content["windows"], strict=True):',
            "True is False",
        ): "the fingerprint says already that there are as many",
        (
            'for executor, (error_times, own_drops) in zip(engine.executors, content["executors"], strict=True):',
            "True is False",
        ): "the fingerprint says already that there are as many",
        (
            'for feed, (numbers, rows, held) in zip(engine.bars.feeds.values(), content.get("bars", []), strict=True):',
            "True is False",
        ): "the fingerprint says already that there are as many",
        ("window.clear()", "window.clear(): left out"): "an engine that takes a snapshot over has seen no tick",
        ("feed.clear()", "feed.clear(): left out"): "an engine that takes a snapshot over has seen no tick",
    },
    "engine/recent.py": {
        ("at = (bucket ^ (bucket >> 5) ^ (bucket >> 11) ^ (side << 3)) & mask", what): "any hash finds what it put"
        for what in ("5 is 6", "11 is 12", "3 is 4")
    }
    | {
        (
            "if book.recent.side[k] != 0 and ts - book.recent.ts[k] < limits.dedupe[e]:",
            "ts - book.recent.ts[k] < limits.dedupe[e]: Lt is LtE",
        ): "one that is as old as the window is kept a while longer, and is no duplicate either way",
        (
            "if 2 * (book.slot.recent_count[s] + 1) <= book.recent_room:",
            "2 is 3",
        ): "the table is cleared up sooner: it holds the same",
    },
    "engine/state.py": {
        ('"rate_ts": np.zeros(0, np.int64),', "0 is 1"): "it grows as executors come",
    },
    "runner/quarantine.py": {
        ("self._tried[same] += 1", "1 is 2"): "equal ticks are told apart either way",
        ("if len(left) < len(found):", "len(left) < len(found): Lt is LtE"): "with as many left it is the same list",
        ("return any(last > self.up_to.get(name, -1) for name, last in watermarks.items())", "1 is 2"): _OFFSETS,
    },
    "runner/committer.py": {
        ("self._room.set()", "self._room.set(): left out"): "at the start: it is cleared before anybody waits for it",
        (
            "self._idle.clear()",
            "self._idle.clear(): left out",
        ): "whoever commits clears it too, before anything is awaited",
    },
    "runner/intake.py": {
        ("at_ns: int = 0", "0 is 1"): _OVERWRITTEN,
        ("self.handed[partition] = [each.get(partition, -1) for each in watermarks]", "1 is 2"): _OFFSETS,
        ("handed = self.handed.setdefault(batch.partition, [-1] * self._plan.count)", "1 is 2"): _OFFSETS,
        ("fresh = batch.last > self.read.get(batch.partition, -1)", "1 is 2"): _OFFSETS,
        (
            "fresh = batch.last > self.read.get(batch.partition, -1)",
            "batch.last > self.read.get(batch.partition, -1): Gt is GtE",
        ): "a shard that is handed a batch again commits it again, and is acknowledged where it was",
        (
            "parts.insert(0, (0, ticks.taken(np.empty(0, np.int64)), 0))",
            "0 is 1",
        ): "which shard's part comes first is nothing to the others",
        (
            "while len(ticks) - start > at_most:",
            "len(ticks) - start > at_most: Gt is GtE",
        ): "the one piece more would end with the batch, which is then left whole",
    },
    "runner/acknowledging.py": {("read: int = -1", "1 is 2"): _OFFSETS},
    "runner/shard.py": {
        (
            'self._ages = bool((engine.state.tables["limits"]["max_age"] < 2**63 - 1).any())',
            "1 is 2",
        ): "an age of 292 years less a nanosecond is none either",
        (
            "moved = {name: last for name, last in watermarks.items() if self.watermarks.get(name, -1) < last}",
            "1 is 2",
        ): _OFFSETS,
    },
}
