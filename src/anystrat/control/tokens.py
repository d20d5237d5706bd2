"""Tokens: made at random, shown once, kept as hashes, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

from anystrat.control.places import FileRefused, read_owned, write_owned
from anystrat.domain.errors import AnystratError, nearest_name

PREFIX: Final = "anystrat_"
_FORM: Final = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
#: The names of those who need no token of the file.
RESERVED: Final = frozenset({"local", "anonymous"})


class Scope(StrEnum):
    """What a token is good for. Who may operate may read as well."""

    READ = "read"
    OPERATE = "operate"

    def covers(self, wanted: Scope) -> bool:
        """Whether this is enough for `wanted`."""
        return self is wanted or self is Scope.OPERATE


class TokenRefused(AnystratError):
    """A token cannot be made or revoked as asked."""

    exit_code = 2


class Token(msgspec.Struct, frozen=True):
    """What is kept of a token. `sha256` is enough: a token is 256 random bits, which nobody guesses from their hash."""

    name: str
    scope: Scope
    sha256: str
    created_ns: int


def fresh() -> str:
    """A new token, from the system's randomness."""
    return PREFIX + secrets.token_urlsafe(32)


def hashed(token: str) -> str:
    """What is kept of it."""
    return hashlib.sha256(token.encode()).hexdigest()


class TokenBook:
    """The tokens of one file, and those that live as long as the process (`also`). Every call looks at the file as it is now."""

    def __init__(self, path: Path, also: Iterable[Token] = ()) -> None:
        self.path = path
        self._also = tuple(also)
        self._seen: tuple[int, int, int] | None = None
        self._kept: tuple[Token, ...] = ()

    def tokens(self) -> tuple[Token, ...]:
        """Those of the file. Raises `FileRefused`."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            self._seen, self._kept = None, ()
            return ()
        mark = (found.st_ino, found.st_mtime_ns, found.st_size)
        if mark != self._seen:
            self._kept = self._read()
            self._seen = mark
        return self._kept

    def known(self, given: str) -> Token | None:
        """Whose token this is. Takes as long whichever it is. Raises `FileRefused`."""
        if _FORM.fullmatch(given) is None:
            return None
        digest = hashed(given)
        found = None
        for token in (*self._also, *self.tokens()):
            if hmac.compare_digest(token.sha256.encode(), digest.encode()):
                found = token
        return found

    def make(self, name: str, scope: Scope, now_ns: int) -> str:
        """A new token of this name: it is not kept, only its hash. Raises `TokenRefused`, `FileRefused`."""
        if _NAME.fullmatch(name) is None or name in RESERVED:
            raise TokenRefused(
                f"{name!r} cannot be a token's name: letters, digits and . _ @ - (64 at most), and not "
                f"{' or '.join(sorted(RESERVED))}"
            )
        kept = self.tokens()
        if any(each.name == name for each in kept):
            raise TokenRefused(f"there is a token {name!r} already: revoke it first, or take another name")
        token = fresh()
        self._write((*kept, Token(name, scope, hashed(token), now_ns)))
        return token

    def revoke(self, name: str) -> None:
        """From now on the token is good for nothing, in a running service too. Raises `TokenRefused`, `FileRefused`."""
        kept = self.tokens()
        left = tuple(each for each in kept if each.name != name)
        if len(left) == len(kept):
            names = [each.name for each in kept]
            near = nearest_name(name, names)
            hint = f"; did you mean {near!r}?" if near else f" (there are: {', '.join(names) or 'none'})"
            raise TokenRefused(f"there is no token {name!r} in {self.path}{hint}")
        self._write(left)

    def _write(self, tokens: tuple[Token, ...]) -> None:
        write_owned(self.path, msgspec.json.format(msgspec.json.encode(list(tokens))) + b"\n")

    def _read(self) -> tuple[Token, ...]:
        data = read_owned(self.path)
        try:
            return tuple(msgspec.json.decode(data or b"[]", type=list[Token]))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise FileRefused(
                f"{self.path}: no file of tokens ({error}); make tokens with: anystrat token new"
            ) from None
