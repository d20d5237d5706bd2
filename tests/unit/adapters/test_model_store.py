"""The store of models: whole, private, by hash, and honest about damage."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from anystrat.adapters.model_store import ModelStore
from anystrat.domain.errors import ModelRefused

CONTENT = b"a model"
HASH = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "state" / "models")


def test_what_is_kept_is_there_and_for_its_owner_alone(store: ModelStore) -> None:
    assert store.content(HASH) is None
    store.keep(HASH, CONTENT)
    assert store.content(HASH) == CONTENT
    assert stat.S_IMODE(store.path_of(HASH).stat().st_mode) == 0o600
    assert stat.S_IMODE(store.directory.stat().st_mode) == 0o700
    assert [each.name for each in store.directory.iterdir()] == [f"{HASH}.onnx"]


def test_what_is_there_is_not_written_again(store: ModelStore) -> None:
    store.keep(HASH, CONTENT)
    before = store.path_of(HASH).stat().st_ino
    store.keep(HASH, CONTENT)
    assert store.path_of(HASH).stat().st_ino == before


def test_a_damaged_file_is_refused_with_its_hash(store: ModelStore) -> None:
    store.keep(HASH, CONTENT)
    store.path_of(HASH).write_bytes(b"a madel")
    with pytest.raises(ModelRefused, match="expected the bytes that the file is named after, found others"):
        store.content(HASH)


def test_a_write_that_fails_leaves_nothing_behind(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    store.directory.mkdir(parents=True)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ModelRefused, match=r"cannot be kept \(.*No space left on device\).*make room"):
        store.keep(HASH, CONTENT)
    assert list(store.directory.iterdir()) == []
    assert store.content(HASH) is None


@pytest.mark.parametrize("name", ["", "abc", "../" * 22, HASH.upper(), f"{HASH}0", f"{HASH[:-1]}/"])
def test_what_is_no_hash_leads_to_no_file(store: ModelStore, name: Any) -> None:
    with pytest.raises(ModelRefused, match="64 hex digits"):
        store.content(name)
