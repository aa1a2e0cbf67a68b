"""Worker processes start by a fork where that is safe, without the files of the parent alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ptm.store.format import MANIFEST
from ptm.store.preprocess import Preprocessing, preprocess
from ptm.text.corpus import ReadOptions, find_corpus, recognise
from ptm.text.tokenizers.wordpiece import WordPiece
from tests.support.faults import on_sync

_PROGRAM = """
import fcntl, os, sys, threading
from pathlib import Path
from ptm.store.workers import TokenizerPool, has_one_thread

assert has_one_thread()
lock = open(sys.argv[1], "w")
with TokenizerPool(lambda: None, Path("."), workers=3, private=[lock.fileno()]) as pool:
    for number, worker in enumerate(pool._workers):
        files = Path(f"/proc/{worker.process.pid}/fd")
        while not worker.process.is_alive():
            pass
        worker.connection.send(())  # A task without parts: the worker answers once it has started.
        assert worker.connection.recv() is None
        opened = [str(file.readlink()) for file in files.iterdir()]
        sockets = sum(name.startswith("socket:") for name in opened)
        print(worker.process._popen.method, sys.argv[1] in opened, sockets)
threading.Thread(target=threading.Event().wait, daemon=True).start()
print(has_one_thread())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_forked_workers_keep_neither_locks_nor_connections_of_others(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(lock)], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    # Each worker has its own end of its own connection.
    assert done.stdout.splitlines() == [*["fork False 1"] * 3, "False"]


def test_all_shards_are_on_the_disk_before_the_manifest_is_written(
    tmp_path: Path, small_vocab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("a document of some words\n" * 30_000, encoding="utf-8")
    synced: list[str] = []
    on_sync(monkeypatch, lambda path: synced.append(path.name))
    work = Preprocessing(
        corpus=recognise(find_corpus([str(corpus)]), "documents", ReadOptions()),
        layout="documents",
        tokenizer=WordPiece(type="wordpiece", vocab=str(small_vocab)),
        segmenter=None,
    )
    info = preprocess(
        work, tmp_path / "store", workers=1, fresh=False, report=lambda progress: None
    )
    shards = [shard.file for shard in info.shards]
    assert len(shards) == 3
    assert synced[: len(shards) + 1] == [*shards, MANIFEST]
