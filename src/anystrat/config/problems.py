"""Collecting what is wrong with a configuration, all of it, before anything is refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from anystrat.config.node import MASK, Node, path_text
from anystrat.domain.errors import ConfigurationError, Problem, nearest_name

# Shorter texts are no secrets, and masking "1" would make every message unreadable.
_SHORTEST_SECRET = 4


@dataclass(slots=True)
class Problems:
    """The problems found so far. `secrets` holds texts that are masked wherever a message repeats them."""

    found: list[Problem] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set)

    def keep_secret(self, text: str) -> None:
        """Mask this text in every message."""
        if len(text) >= _SHORTEST_SECRET:
            self.secrets.add(text)

    def add(
        self,
        node: Node,
        path: Sequence[str | int],
        message: str,
        *,
        found: str | None = None,
        allowed: Iterable[str] | str = "",
        nearest: str = "",
        line: int | None = None,
    ) -> None:
        """Add a problem at a node. `found` is the node's own value unless it is given; "" leaves it out."""
        self.found.append(
            Problem(
                message=message,
                file=node.origin.name,
                line=node.line if line is None else line,
                path=path_text(path),
                found=node.found() if found is None else found,
                allowed=allowed if isinstance(allowed, str) else ", ".join(allowed),
                nearest=nearest,
            )
        )

    def unknown(
        self,
        node: Node,
        path: Sequence[str | int],
        what: str,
        name: str,
        allowed: Iterable[str],
        *,
        line: int | None = None,
    ) -> None:
        """Add a name that is not one of `allowed`."""
        names = list(allowed)
        shown = MASK if node.masked else repr(name if len(name) <= 80 else name[:79] + "…")
        nearest = "" if node.masked else nearest_name(name, names)
        self.add(node, path, f"unknown {what}", found=shown, allowed=names, nearest=nearest, line=line)

    def extend(self, problems: Iterable[Problem]) -> None:
        """Add problems that another reader found."""
        self.found.extend(problems)

    def raise_if_any(self) -> None:
        """Refuse the configuration when anything was found. Raises `ConfigurationError`."""
        if self.found:
            # As a person mends them: file by file, from the top down.
            files = list(dict.fromkeys(problem.file for problem in self.found))
            ordered = sorted(dict.fromkeys(self.found), key=lambda problem: (files.index(problem.file), problem.line))
            raise ConfigurationError([self._masked(problem) for problem in ordered])

    def _masked(self, problem: Problem) -> Problem:
        texts = [problem.message, problem.file, problem.path, problem.found, problem.allowed, problem.nearest]
        # The longest first: a secret may contain another.
        for secret in sorted(self.secrets, key=len, reverse=True):
            texts = [text.replace(secret, MASK) for text in texts]
        message, file, path, found, allowed, nearest = texts
        return Problem(message, file, problem.line, path, found, allowed, nearest)
