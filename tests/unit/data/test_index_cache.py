from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ptm.data.index_cache import (
    Arrays,
    build_lock,
    cached_arrays,
    remove_arrays,
    store_number,
    stored_number,
)

PRINT = "0123456789abcdef" * 2


def counting(values: list[int]) -> tuple[Callable[[], Arrays], list[int]]:
    calls: list[int] = []

    def build() -> Arrays:
        calls.append(1)
        return {"values": np.array(values)}

    return build, calls


def test_arrays_are_built_once(tmp_path: Path) -> None:
    build, calls = counting([1, 2, 3])
    for _ in range(2):
        assert cached_arrays(tmp_path, PRINT, "key", build)["values"].tolist() == [1, 2, 3]
    assert len(calls) == 1


@pytest.mark.parametrize(("fingerprint", "key"), [("f" * 32, "key"), (PRINT, "other")])
def test_another_fingerprint_or_key_has_other_arrays(
    tmp_path: Path, fingerprint: str, key: str
) -> None:
    cached_arrays(tmp_path, PRINT, "key", counting([1])[0])
    found = cached_arrays(tmp_path, fingerprint, key, counting([2])[0])
    assert found["values"].tolist() == [2]


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> Arrays:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached_arrays(tmp_path, PRINT, "key", fail)
    assert cached_arrays(tmp_path, PRINT, "key", counting([1])[0])["values"].tolist() == [1]


def test_the_arrays_of_a_faster_process_are_used(tmp_path: Path) -> None:
    def slower() -> Arrays:
        cached_arrays(tmp_path, PRINT, "key", counting([1])[0])
        return {"values": np.array([1])}

    assert cached_arrays(tmp_path, PRINT, "key", slower)["values"].tolist() == [1]
    assert len(list((tmp_path / "index").iterdir())) == 1


def test_a_read_only_store_is_indexed_in_the_cache_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, cache = tmp_path / "store", tmp_path / "cache"
    store.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setattr("ptm.data.index_cache.os.access", lambda *_: False)
    build, calls = counting([1])
    for _ in range(2):
        cached_arrays(store, PRINT, "key", build)
    assert len(calls) == 1
    assert not list(store.iterdir())
    assert list((cache / "ptm").rglob("*.npy"))


def test_removed_arrays_are_gone_from_disk_but_usable_while_open(tmp_path: Path) -> None:
    build, calls = counting([1, 2])
    held = cached_arrays(tmp_path, PRINT, "key", build)
    remove_arrays(tmp_path, PRINT, "key")
    remove_arrays(tmp_path, PRINT, "key")
    assert not list((tmp_path / "index").iterdir())
    assert held["values"].tolist() == [1, 2]
    assert cached_arrays(tmp_path, PRINT, "key", build)["values"].tolist() == [1, 2]
    assert len(calls) == 2


def test_a_stored_number_is_read_and_a_truncated_one_is_none(tmp_path: Path) -> None:
    assert stored_number(tmp_path, PRINT, "rows") is None
    store_number(tmp_path, PRINT, "rows", 42)
    assert stored_number(tmp_path, PRINT, "rows") == 42
    next((tmp_path / "index").iterdir()).write_text("")
    assert stored_number(tmp_path, PRINT, "rows") is None


def test_the_lock_makes_a_second_process_wait(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with build_lock(tmp_path, PRINT, "key"):
            order.append("second")

    with build_lock(tmp_path, PRINT, "key"):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.05)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
