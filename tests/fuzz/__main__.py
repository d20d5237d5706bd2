"""`python -m tests.fuzz [TARGET …]`: coverage-guided fuzzing, a process a target, until so many inputs or so many seconds.

What makes a reader raise what it does not promise, crash or hang is kept in `out/fuzz/TARGET`; copied into
`tests/fuzz/found/TARGET` it is a test for ever.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

OUT = Path("out") / "fuzz"
HANGS_SEC = 10
_RUN = """
import sys
import atheris
with atheris.instrument_imports(include=["anystrat"]):
    from tests.fuzz.targets import TARGETS
atheris.Setup(sys.argv[1:], TARGETS[{name!r}].read)
atheris.Fuzz()
"""


def main() -> int:
    """The command; 1 where something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="all by default")
    parser.add_argument("--inputs", type=int, default=100_000, help="inputs of each target (100,000)")
    parser.add_argument(
        "--seconds", type=int, default=0, help="at most so long for each; 0: as long as the inputs take"
    )
    arguments = parser.parse_args()
    try:
        import atheris  # noqa: F401  only whether it is there
    except ModuleNotFoundError:
        print("atheris has no wheel for this Python: make PYTHON=python3.11 fuzz, in a fresh clone", file=sys.stderr)
        return 2
    from tests.fuzz.targets import TARGETS

    unknown = set(arguments.targets) - TARGETS.keys()
    if unknown:
        parser.error(f"unknown target {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    failed = []
    for name in arguments.targets or TARGETS:
        corpus = OUT / name / "corpus"
        corpus.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(TARGETS[name].seeds()):
            (corpus / f"seed-{number}").write_bytes(seed)
        options = [
            f"-runs={arguments.inputs}",
            f"-max_total_time={arguments.seconds}",
            f"-timeout={HANGS_SEC}",
            "-rss_limit_mb=4096",
            f"-artifact_prefix={OUT / name}/",
            "-print_final_stats=1",
            "-verbosity=0",
        ]
        command = [sys.executable, "-c", _RUN.format(name=name), *options, str(corpus)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        inputs = [line.split()[-1] for line in done.stderr.splitlines() if "number_of_executed_units" in line]
        print(
            f"{name:14} {(inputs or ['?'])[0]:>8} inputs  {'FOUND SOMETHING' if done.returncode else 'nothing found'}"
        )
        if done.returncode:
            failed.append(name)
            print(done.stdout[-3_000:], done.stderr[-3_000:], sep="\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
