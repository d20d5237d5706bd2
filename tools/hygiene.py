"""Refuses tracked text that ties the project to one machine: an absolute path of it, or a package index's address."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# The brackets keep these patterns from finding themselves.
INDEX_ADDRESS = re.compile(
    r"p[y]pi\.org|python[h]osted\.org|https?://[^\s\"'<>]+/(?:simple|packages)/|--(?:extra-|default-)?index-ur[l][ =]\S"
)
HOME_PATH = re.compile(r"(?<![\w.])/(?:ho[m]e|Use[r]s)/[a-z][\w.-]*/|(?<![\w.])/roo[t]/")


def findings(root: Path) -> list[str]:
    """Return `path:line: text` for each offending line of the tracked files under `root`."""
    own_path = re.compile(re.escape(f"{root}/"))
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True, text=True).stdout
    found: list[str] = []
    for name in filter(None, listed.split("\0")):
        path = root / name
        if not path.is_file():  # deleted, but not yet committed
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # binary
        found += [
            f"{name}:{number}: {line.strip()[:160]}"
            for number, line in enumerate(text.splitlines(), start=1)
            if any(pattern.search(line) for pattern in (INDEX_ADDRESS, HOME_PATH, own_path))
        ]
    return found


if __name__ == "__main__":
    bad = findings(ROOT)
    if bad:
        print(
            "A path of this machine, or a package index's address, in a tracked file:",
            *bad,
            sep="\n  ",
            file=sys.stderr,
        )
        sys.exit(1)
    print("No machine path and no package index's address in the tracked files.")
