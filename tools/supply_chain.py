"""What the package is made of: known vulnerabilities of every locked version (pip-audit), and a list of all of it (CycloneDX).

Ends with 1 for a vulnerability, and for a lock file whose versions are not all pinned by hash. Where nobody answers for a
version (no network, or an index without advisories), that is said, and nothing fails of it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("run.txt", "dev.txt", "uv.txt")
SBOM = Path("out") / "sbom.cdx.json"
_REQUIREMENT = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*\])?==(?P<version>[^\s;\\]+)")


def unhashed(lock: str) -> list[str]:
    """The requirements of a lock file that no hash follows."""
    found: list[str] = []
    for entry in re.split(r"\n(?=[A-Za-z0-9])", "\n" + lock)[1:]:
        line = entry.split("\n", 1)[0].strip()
        if not _REQUIREMENT.match(line) or "--hash=sha256:" not in entry:
            found.append(line.rstrip(" \\"))
    return found


def verdict(report: dict[str, Any]) -> tuple[int, str]:
    """The exit code, and what to say of a report of pip-audit."""
    dependencies = report["dependencies"]
    asked = [each for each in dependencies if "skip_reason" not in each]
    bad = [each for each in asked if each["vulns"]]
    if bad:
        lines = [
            f"{each['name']} {each['version']}: {one['id']}, fixed in {', '.join(one['fix_versions']) or 'no version yet'}"
            for each in bad
            for one in each["vulns"]
        ]
        return 1, "\n".join(["Known vulnerabilities in locked versions:", *lines, "LOCK_FLAGS=--upgrade make lock"])
    if not asked:
        return (
            0,
            f"Skipped: the package index knows no advisories; {len(dependencies)} locked versions were not audited.",
        )
    rest = len(dependencies) - len(asked)
    return 0, f"No known vulnerability in {len(asked)} locked versions" + (
        f"; {rest} were not audited." if rest else "."
    )


def audited(lock: Path) -> tuple[int, str]:
    """What pip-audit says of a lock file."""
    command = [sys.executable, "-m", "pip_audit", "-r", str(lock), "--disable-pip", "--require-hashes"]
    done = subprocess.run(
        [*command, "--progress-spinner", "off", "--format", "json"], capture_output=True, text=True, check=False
    )
    try:
        return verdict(json.loads(done.stdout))
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1]
        if "ConnectionError" in done.stderr or "Failed to upgrade" in done.stderr or "resolve" in last:
            return 0, f"Skipped: nobody could be asked for advisories ({last[:120]})."
        return 1, f"pip-audit failed: {last[:300]}"


def listed(lock: Path, target: Path) -> None:
    """Write down what a run is made of, as a software bill of materials in CycloneDX's JSON."""
    target.parent.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", str(lock), "--pyproject", "pyproject.toml"]
    subprocess.run(
        [*command, "--output-reproducible", "--no-validate", "--of", "JSON", "-o", str(target)],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip


def main() -> int:
    """All of it; the exit code."""
    worst = 0
    for name in LOCKS:
        missing = unhashed((ROOT / "requirements" / name).read_text(encoding="utf-8"))
        if missing:
            print(f"requirements/{name}: without a hash: {', '.join(missing)}; make lock writes them", file=sys.stderr)
            worst = 1
    code, said = audited(ROOT / "requirements" / "dev.txt")
    print(f"requirements/dev.txt: {said}", file=sys.stderr if code else sys.stdout)
    listed(ROOT / "requirements" / "run.txt", ROOT / SBOM)
    print(f"What a run is made of: {SBOM}")
    return max(worst, code)


if __name__ == "__main__":
    sys.exit(main())
