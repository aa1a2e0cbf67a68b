"""Workers read the parts of a corpus: the same store, the first error, and what a kill leaves."""

from __future__ import annotations

import gzip
import json
import logging
import multiprocessing
import os
import random
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from ptm.errors import UserError
from ptm.store.finished import FinishedBlock
from ptm.store.format import StoreInfo
from ptm.store.parts import tasks_of
from ptm.store.preprocess import Preprocessing, PreprocessingProgress, preprocess
from ptm.store.reader import TokenStore
from ptm.store.workers import TokenizerPool
from ptm.text.corpus import ReadOptions, find_corpus, recognise
from ptm.text.labels import LabelSet
from ptm.text.tokenizers.wordpiece import WordPiece
from tests.conftest import Bundled
from tests.support.corpora import COMPRESS, FORMATS

BLOCK = 2**18
"""Bytes of a block of a small corpus."""


def make(
    store: Path,
    corpus: Path,
    vocab: Path,
    *,
    workers: int,
    report: Callable[[PreprocessingProgress], None] = lambda _: None,
) -> StoreInfo:
    work = Preprocessing(
        corpus=recognise(find_corpus([str(corpus)]), "documents", ReadOptions()),
        layout="documents",
        tokenizer=WordPiece(type="wordpiece", vocab=str(vocab)),
        segmenter=None,
    )
    return preprocess(work, store, workers=workers, fresh=False, report=report)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture(scope="module")
def mixed(bundled: Bundled, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files that are read in ranges, by one worker, together, and by the parent."""
    folder = tmp_path_factory.mktemp("mixed")
    lines = [line for path in bundled.corpus for line in path.read_text("utf-8").splitlines()]
    text = "\n".join(lines).encode()
    order = random.Random(1)
    (folder / "a.txt").write_bytes(text * 2)
    for number in range(20):
        some = "\n".join(order.choices(lines, k=20)) + "\xa0\n"
        (folder / f"b{number:02d}.txt").write_text(some, encoding="utf-8")
    # Of which the parent reads the first, if there are 4 workers.
    (folder / "c.txt.gz").write_bytes(
        gzip.compress("\n".join(order.choices(lines, k=60_000)).encode())
    )
    (folder / "d.txt.xz").write_bytes(COMPRESS[".xz"]("\n".join(lines[:900]).encode()))
    records = [{"text": line} for line in lines[:1500]]
    for suffix in (".jsonl", ".csv", ".parquet"):
        (folder / f"e{suffix}").write_bytes(FORMATS[suffix](records))
    return folder


def test_a_store_has_the_same_bytes_with_any_number_of_workers(
    mixed: Path, bundled: Bundled, tmp_path: Path
) -> None:
    infos = {
        workers: make(tmp_path / str(workers), mixed, bundled.vocab, workers=workers)
        for workers in (1, 2, 4)
    }
    total = sum(path.stat().st_size for path in mixed.iterdir())
    assert total / 4 < (mixed / "c.txt.gz").stat().st_size < total
    assert len(infos[1].shards) > 40
    assert contents(tmp_path / "1") == contents(tmp_path / "2") == contents(tmp_path / "4")


@pytest.mark.parametrize("workers", [1, 2])
def test_the_progress_grows_to_the_bytes_of_the_corpus(
    mixed: Path, bundled: Bundled, tmp_path: Path, workers: int
) -> None:
    seen: list[PreprocessingProgress] = []
    info = make(tmp_path / "store", mixed, bundled.vocab, workers=workers, report=seen.append)
    read = [progress.bytes_read for progress in seen]
    assert read == sorted(read)
    total = sum(path.stat().st_size for path in mixed.iterdir())
    assert (read[-1], seen[-1].bytes_total) == (total, total)
    assert (seen[-1].documents, seen[-1].tokens) == (info.documents, info.tokens)


# Errors


LABELLED = "0\ttext\n1\tmore text\n"


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("later", ["worker", "parent"])
def test_the_first_error_of_a_corpus_is_reported_whichever_is_found_first(
    tmp_path: Path, small_vocab: Path, workers: int, later: str
) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    lines = LABELLED * (3 * BLOCK // len(LABELLED))
    # A small file of much text, whose last line is wrong.
    slow = f"{lines * 3}2\ta label\n"
    (folder / "a.txt.gz").write_bytes(gzip.compress(slow.encode()))
    # Two workers find this before one worker has read the other file; the parent at once.
    fast = f"{lines}2\ta label\n{lines}" if later == "worker" else f"PK\x03\x04{lines}"
    (folder / "b.txt").write_text(fast, encoding="utf-8")
    number = slow.count("\n")
    work = Preprocessing(
        corpus=find_corpus([str(folder)]),
        layout="labelled",
        tokenizer=WordPiece(type="wordpiece", vocab=str(small_vocab)),
        segmenter=None,
        labels=LabelSet(("0", "1")),
    )
    with pytest.raises(UserError, match=rf'a\.txt\.gz:{number}: .*"2"'):
        preprocess(work, tmp_path / "s", workers=workers, fresh=False, report=lambda _: None)
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_names_the_line_of_the_file_in_any_encoding(
    tmp_path: Path, small_vocab: Path, workers: int
) -> None:
    path = tmp_path / "corpus.txt"
    lines = ["0\t文字\r\n"] * 100_000
    lines[90_000] = "1\r\n"
    path.write_bytes("".join(lines).encode("gb18030"))
    work = Preprocessing(
        corpus=recognise(find_corpus([str(path)]), "labelled", ReadOptions(encoding="gb18030")),
        layout="labelled",
        tokenizer=WordPiece(type="wordpiece", vocab=str(small_vocab)),
        segmenter=None,
        labels=LabelSet(("0", "1")),
    )
    with pytest.raises(UserError, match=r"corpus\.txt:90001: "):
        preprocess(work, tmp_path / "s", workers=workers, fresh=False, report=lambda _: None)


def test_a_file_that_changes_while_workers_read_it_is_an_error(
    tmp_path: Path, small_vocab: Path
) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text("a document of some words\n" * 100_000, encoding="utf-8")

    def truncate(_: PreprocessingProgress) -> None:
        os.truncate(path, 1000)

    with pytest.raises(UserError, match=r"corpus\.txt: the file changed while it was read"):
        make(tmp_path / "store", path, small_vocab, workers=2, report=truncate)
    assert [one.name for one in tmp_path.iterdir()] == ["corpus.txt"]


# Stopped runs


def test_a_worker_that_is_killed_is_an_error_after_which_the_run_is_resumed(
    mixed: Path, bundled: Bundled, tmp_path: Path
) -> None:
    def kill(_: PreprocessingProgress) -> None:
        for worker in multiprocessing.active_children():
            assert worker.pid is not None
            os.kill(worker.pid, signal.SIGKILL)

    with pytest.raises(UserError, match=r"worker was killed.* smaller data\.workers"):
        make(tmp_path / "store", mixed, bundled.vocab, workers=2, report=kill)
    kept = {
        note.stem: note.with_suffix(".bin").stat().st_mtime_ns
        for note in (tmp_path / "store.partial").glob("shard-*.json")
    }
    assert kept
    assert not multiprocessing.active_children()
    make(tmp_path / "store", mixed, bundled.vocab, workers=2)
    make(tmp_path / "whole", mixed, bundled.vocab, workers=1)
    assert contents(tmp_path / "store") == contents(tmp_path / "whole")
    after = {name: (tmp_path / "store" / f"{name}.bin").stat().st_mtime_ns for name in kept}
    assert after == kept, "finished shards were encoded again"


def test_a_stopped_run_that_was_cut_by_other_rules_begins_again(
    tmp_path: Path, small_vocab: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text("a document of some words\n" * 40_000, encoding="utf-8")

    def stop(_: PreprocessingProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "store", path, small_vocab, workers=1, report=stop)
    note = tmp_path / "store.partial" / "work.json"
    work = json.loads(note.read_text("utf-8"))
    assert work["cutting"] > 1
    # Before the rules had a number.
    del work["cutting"]
    note.write_text(json.dumps(work), encoding="utf-8")
    (shard,) = (tmp_path / "store.partial").glob("shard-*.bin")
    before = shard.stat().st_mtime_ns
    with caplog.at_level(logging.WARNING):
        make(tmp_path / "store", path, small_vocab, workers=1)
    (message,) = caplog.messages
    assert "another version of ptm began this store" in message
    assert (tmp_path / "store" / shard.name).stat().st_mtime_ns > before
    assert TokenStore.open(tmp_path / "store").info.documents == 40_000


def test_a_worker_whose_results_are_not_read_ends_quietly(
    tmp_path: Path, small_vocab: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text("a document of some words\n" * 40_000, encoding="utf-8")
    work = Preprocessing(
        corpus=recognise(find_corpus([str(path)]), "documents", ReadOptions()),
        layout="documents",
        tokenizer=WordPiece(type="wordpiece", vocab=str(small_vocab)),
        segmenter=None,
    )

    def stop(_: FinishedBlock) -> None:
        raise KeyboardInterrupt

    tasks = tasks_of(work.readers(), largest_file=BLOCK)
    # Messages of the worker stay unread, and the connection is closed without a signal.
    with TokenizerPool(work.encoder, tmp_path, workers=2) as pool, suppress(KeyboardInterrupt):
        pool.run(tasks, stop)
    assert list(tmp_path.glob("shard-*.bin"))
    assert capfd.readouterr().err == ""
