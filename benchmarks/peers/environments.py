"""Makes the other engines' environments: a venv each, with the versions and hashes that `requirements/` pins."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

PINS = Path(__file__).parent / "requirements"


def folder() -> Path:
    """Where environments are kept from run to run; none of it is the project's."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(home) if Path(home).is_absolute() else Path.home() / ".cache"
    return base / "anystrat" / "benchmarks"


def python_of(peer: str) -> Path:
    """The interpreter of a peer's environment, made if need be. Raises `RuntimeError` with the reason where it can't be."""
    pins = (PINS / f"{peer}.txt").read_text(encoding="utf-8")
    key = hashlib.sha256(f"{pins}{sys.version}".encode()).hexdigest()[:8]
    place = folder() / f"{peer}-{key}"
    python = place / "bin" / "python"
    if (place / "ready").exists():
        return python
    print(f"installing {peer} into an environment of its own (once)", file=sys.stderr, flush=True)
    venv.create(place, with_pip=True, clear=True)
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]
    done = subprocess.run(
        [*command, "--require-hashes", "-r", PINS / f"{peer}.txt"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["pip failed"]
        raise RuntimeError(last[0])
    (place / "ready").touch()
    return python
