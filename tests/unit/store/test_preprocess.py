from __future__ import annotations

import json
import lzma
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from ptm.errors import UserError
from ptm.store.format import StoreInfo
from ptm.store.preprocess import Preprocessing, PreprocessingProgress, preprocess
from ptm.store.reader import TokenStore
from ptm.text.corpus import find_corpus
from ptm.text.segmenters.space import Space
from ptm.text.tokenizers.wordpiece import WordPiece

if TYPE_CHECKING:
    from tests.conftest import Bundled, RealText

LARGEST_MEGABYTES = 400


def make(
    store: Path,
    corpus: list[Path] | Path,
    vocab: Path,
    *,
    workers: int = 1,
    fresh: bool = False,
    report: Callable[[PreprocessingProgress], None] = lambda _: None,
    **options: Any,
) -> StoreInfo:
    paths = [str(path) for path in ([corpus] if isinstance(corpus, Path) else corpus)]
    work = Preprocessing(
        corpus=find_corpus(paths),
        layout=options.get("layout", "documents"),
        tokenizer=WordPiece(
            type="wordpiece", vocab=str(vocab), lowercase=options.get("lowercase", True)
        ),
        segmenter=options.get("segmenter"),
        sentence_splitting=options.get("sentence_splitting", False),
    )
    return preprocess(work, store, workers=workers, fresh=fresh, report=report)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def small_corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_text("a b\nc\n", encoding="utf-8")
    return path


# Equal inputs give equal stores


def test_two_workers_write_the_same_bytes_as_one(real_text: RealText, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text(real_text.as_layout("documents") * 4, encoding="utf-8")
    one, two = tmp_path / "one", tmp_path / "two"
    info = make(one, corpus, real_text.vocab, workers=1)
    make(two, corpus, real_text.vocab, workers=2)
    assert len(info.shards) > 2
    assert contents(one) == contents(two)


def test_documents_are_in_the_order_of_the_corpus(tmp_path: Path, tiny_vocab: Path) -> None:
    paths = [tmp_path / name for name in ("z.txt", "a.txt")]
    for path, text in zip(paths, ["a\nb\n", "c\n"], strict=True):
        path.write_text(text)
    make(tmp_path / "store", paths, tiny_vocab)
    store = TokenStore.open(tmp_path / "store")
    tokens = WordPiece(type="wordpiece", vocab=str(tiny_vocab)).load().vocabulary.tokens
    assert [tokens[i] for i in store.tokens(*store.document_ranges)] == ["a", "b", "c"]


def test_a_block_without_text_has_no_shard(tmp_path: Path, tiny_vocab: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n" * 2**18 + "a\n")
    info = make(tmp_path / "store", corpus, tiny_vocab)
    assert [shard.documents for shard in info.shards] == [1]
    store = TokenStore.open(tmp_path / "store")
    assert store.tokens(*store.document_ranges).size == 1


def test_lines_and_documents_are_counted(tmp_path: Path, tiny_vocab: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_bytes(b"a\n\n\xff\n" + b"b\n" * 197)
    info = make(tmp_path / "store", corpus, tiny_vocab)
    assert dict(info.report) == {
        "lines": 200,
        "blank_lines": 1,
        "invalid_lines": 1,
        "text_bytes": 198,
        "unknown_tokens": 0,
        "empty_documents": 0,
    }
    assert info.documents == 198


# Invalid corpora


def test_a_file_in_another_encoding_is_an_error_with_its_first_invalid_line(
    tmp_path: Path, tiny_vocab: Path
) -> None:
    good, bad = tmp_path / "good.txt", tmp_path / "bad.txt"
    good.write_text("a\n" * 10_000)
    bad.write_bytes(b"a\n" * 90 + "中文\n".encode("gb18030") * 2 + b"b\n" * 8)
    with pytest.raises(UserError, match=r"bad\.txt:91: .* not valid UTF-8 .*2 of 100"):
        make(tmp_path / "store", [good, bad], tiny_vocab)


def test_the_number_of_the_first_invalid_line_counts_the_lines_of_earlier_blocks(
    tmp_path: Path, tiny_vocab: Path
) -> None:
    bad = tmp_path / "bad.txt"
    bad.write_bytes((b"a" + b" " * 98 + b"\n") * 6_000 + b"\xff\n" * 100)
    with pytest.raises(
        UserError, match=r"bad\.txt:6001: .* not valid UTF-8 \(invalid lines: 100 of 6100"
    ):
        make(tmp_path / "store", bad, tiny_vocab)


def test_one_invalid_line_in_a_hundred_is_left_out(tmp_path: Path, tiny_vocab: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_bytes(b"\xff\n" + b"a\n" * 99)
    assert make(tmp_path / "store", corpus, tiny_vocab).documents == 99


@pytest.mark.parametrize("text", ["\n\n \n", "\ufeff", "\u200b\n"])
def test_a_corpus_without_text_is_an_error(tmp_path: Path, tiny_vocab: Path, text: str) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"corpus\.txt: the corpus contains no text"):
        make(tmp_path / "store", corpus, tiny_vocab)
    assert not (tmp_path / "store").exists()


# A store that exists already


def test_documents_are_split_into_sentences_with_sentence_splitting(
    tmp_path: Path, tiny_vocab: Path
) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("a b. Cd! e\n看书。我们看书\n", encoding="utf-8")
    make(tmp_path / "whole", corpus, tiny_vocab)
    make(tmp_path / "split", corpus, tiny_vocab, sentence_splitting=True)
    whole, split = (TokenStore.open(tmp_path / name) for name in ("whole", "split"))
    assert split.info.sentence_splitting
    assert not whole.info.sentence_splitting
    assert split.sentence_ranges[2].tolist() == [2, 2]
    assert whole.sentence_ranges[2].tolist() == [1, 1]
    for one, other in zip(whole.document_ranges, split.document_ranges, strict=True):
        assert one.tolist() == other.tolist()
    assert whole.tokens(*whole.document_ranges).tolist() == (
        split.tokens(*split.document_ranges).tolist()
    )
    assert whole.info.fingerprint != split.info.fingerprint


def test_a_store_with_other_sentence_splitting_is_an_error(
    tmp_path: Path, small_corpus: Path, tiny_vocab: Path
) -> None:
    make(tmp_path / "store", small_corpus, tiny_vocab)
    with pytest.raises(UserError, match="another sentence splitting"):
        make(tmp_path / "store", small_corpus, tiny_vocab, sentence_splitting=True)


def test_a_store_from_before_sentence_splitting_can_be_read(
    tmp_path: Path, small_corpus: Path, tiny_vocab: Path
) -> None:
    make(tmp_path / "store", small_corpus, tiny_vocab)
    manifest = tmp_path / "store" / "store.json"
    data = json.loads(manifest.read_text())
    del data["sentence_splitting"]
    manifest.write_text(json.dumps(data))
    # Stores of that time have no marker, which holds the checksum of the manifest.
    (tmp_path / "store" / ".ptm-folder").unlink()
    assert not TokenStore.open(tmp_path / "store").info.sentence_splitting
    make(tmp_path / "store", small_corpus, tiny_vocab)


def test_a_finished_store_is_not_written_again(
    tmp_path: Path, small_corpus: Path, tiny_vocab: Path
) -> None:
    first = make(tmp_path / "store", small_corpus, tiny_vocab)
    written = (tmp_path / "store" / "store.json").stat().st_mtime_ns
    assert make(tmp_path / "store", small_corpus, tiny_vocab) == first
    assert (tmp_path / "store" / "store.json").stat().st_mtime_ns == written


def test_a_store_of_another_corpus_is_an_error(
    tmp_path: Path, small_corpus: Path, tiny_vocab: Path
) -> None:
    make(tmp_path / "store", small_corpus, tiny_vocab)
    small_corpus.write_text("a b\nc d\n")
    with pytest.raises(UserError, match=r"another corpus.*--fresh"):
        make(tmp_path / "store", small_corpus, tiny_vocab)


@pytest.mark.parametrize(
    ("what", "options"),
    [
        ("tokenizer", {"lowercase": False}),
        ("layout", {"layout": "sentences"}),
        ("segmenter", {"segmenter": Space(type="space")}),
    ],
)
def test_a_store_with_other_settings_is_an_error_that_names_the_difference(
    tmp_path: Path, small_corpus: Path, tiny_vocab: Path, what: str, options: dict[str, Any]
) -> None:
    make(tmp_path / "store", small_corpus, tiny_vocab)
    with pytest.raises(UserError, match=rf"was made with another {what}\."):
        make(tmp_path / "store", small_corpus, tiny_vocab, **options)


def test_fresh_replaces_a_store_of_another_corpus(
    tmp_path: Path, small_corpus: Path, tiny_vocab: Path
) -> None:
    make(tmp_path / "store", small_corpus, tiny_vocab)
    small_corpus.write_text("a b\nc\nd\n")
    make(tmp_path / "store", small_corpus, tiny_vocab, fresh=True)
    assert TokenStore.open(tmp_path / "store").info.documents == 3


def test_fresh_keeps_the_old_store_until_the_new_one_is_finished(
    tmp_path: Path, small_corpus: Path, tiny_vocab: Path
) -> None:
    make(tmp_path / "store", small_corpus, tiny_vocab)
    old = contents(tmp_path / "store")
    small_corpus.write_bytes(b"\xff\n")
    with pytest.raises(UserError, match="is not valid UTF-8"):
        make(tmp_path / "store", small_corpus, tiny_vocab, fresh=True)
    assert contents(tmp_path / "store") == old


def test_a_folder_with_other_files_is_an_error_and_is_not_changed(
    tmp_path: Path, small_corpus: Path, tiny_vocab: Path
) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    (folder / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="is not empty and is not a token store"):
        make(folder, small_corpus, tiny_vocab)
    assert (folder / "thesis.txt").read_text() == "precious"


def test_other_files_in_the_partial_folder_are_not_changed(
    tmp_path: Path, small_corpus: Path, tiny_vocab: Path
) -> None:
    folder = tmp_path / "store.partial"
    folder.mkdir()
    (folder / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match=r"store\.partial"):
        make(tmp_path / "store", small_corpus, tiny_vocab)
    assert (folder / "thesis.txt").read_text() == "precious"


def test_a_file_at_the_path_of_the_store_is_an_error(
    tmp_path: Path, small_corpus: Path, tiny_vocab: Path
) -> None:
    (tmp_path / "store").write_text("a file")
    with pytest.raises(UserError, match=r"data\.store"):
        make(tmp_path / "store", small_corpus, tiny_vocab)


def test_a_second_preprocessing_of_the_same_store_is_an_error(
    tmp_path: Path, small_corpus: Path, tiny_vocab: Path
) -> None:
    def again(_: PreprocessingProgress) -> None:
        with pytest.raises(UserError, match="another `ptm preprocess` is writing"):
            make(tmp_path / "store", small_corpus, tiny_vocab)

    make(tmp_path / "store", small_corpus, tiny_vocab, report=again)


# Stopped runs


def stop_after(shards: int) -> Callable[[PreprocessingProgress], None]:
    """A `report` function that raises KeyboardInterrupt after `shards` shards."""
    seen = 0

    def report(_: PreprocessingProgress) -> None:
        nonlocal seen
        seen += 1
        if seen == shards:
            raise KeyboardInterrupt

    return report


@pytest.fixture
def four_blocks(tmp_path: Path) -> Path:
    path = tmp_path / "blocks.txt"
    path.write_text(("a" + " " * 98 + "\n") * (4 * 2**18 // 100))
    return path


def written(partial: Path) -> dict[str, int]:
    """Modification time of each finished shard, by name."""
    return {
        note.stem: note.with_suffix(".bin").stat().st_mtime_ns
        for note in partial.glob("shard-*.json")
    }


def test_a_stopped_run_has_no_store(tmp_path: Path, four_blocks: Path, tiny_vocab: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "store", four_blocks, tiny_vocab, report=stop_after(2))
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("damage", ["shard truncated", "shard missing", "shard info truncated"])
def test_a_damaged_shard_of_a_stopped_run_is_encoded_again(
    tmp_path: Path, four_blocks: Path, tiny_vocab: Path, damage: str
) -> None:
    make(tmp_path / "whole", four_blocks, tiny_vocab)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "store", four_blocks, tiny_vocab, report=stop_after(2))
    shard = tmp_path / "store.partial" / "shard-00000-000000.bin"
    if damage == "shard truncated":
        shard.write_bytes(shard.read_bytes()[:-1])
    elif damage == "shard missing":
        shard.unlink()
    else:
        # A power loss leaves an empty file if it was renamed before it was synced.
        shard.with_suffix(".json").write_bytes(b"")
    make(tmp_path / "store", four_blocks, tiny_vocab)
    assert contents(tmp_path / "store") == contents(tmp_path / "whole")


def test_shards_of_an_earlier_format_are_not_reused(
    tmp_path: Path, four_blocks: Path, tiny_vocab: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "store", four_blocks, tiny_vocab, report=stop_after(2))
    partial = tmp_path / "store.partial"
    work = json.loads((partial / "work.json").read_text(encoding="utf-8"))
    del work["format"]
    (partial / "work.json").write_text(json.dumps(work), encoding="utf-8")
    before = written(partial)
    make(tmp_path / "store", four_blocks, tiny_vocab)
    after = {shard.stem: shard.stat().st_mtime_ns for shard in (tmp_path / "store").glob("*.bin")}
    assert before
    assert all(after[name] > modified for name, modified in before.items())


def test_a_stopped_run_of_another_corpus_is_not_resumed(
    tmp_path: Path, four_blocks: Path, tiny_vocab: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "store", four_blocks, tiny_vocab, report=stop_after(2))
    four_blocks.write_text("a\n")
    info = make(tmp_path / "store", four_blocks, tiny_vocab)
    assert (info.documents, len(info.shards)) == (1, 1)


# The command in a process


@pytest.fixture
def command(project: Path, tmp_path: Path) -> Callable[..., list[str]]:
    def build(corpus: Path, vocab: Path, store: Path, *overrides: str) -> list[str]:
        recipe = tmp_path / "recipe.yaml"
        recipe.write_text(
            f"""
name: test
tokenizer: {{type: wordpiece, vocab: {vocab}}}
data: {{corpus: {corpus}, layout: documents, store: {store}, sequence_length: 128}}
model:
  encoder: {{type: transformer, layers: 1, hidden_size: 8, heads: 1, feed_forward_size: 8}}
objective: {{type: mlm}}
optimizer: {{type: adamw, learning_rate: 1e-4}}
schedule: {{type: linear}}
train: {{steps: 10, global_batch_size: 8, micro_batch_size: 8}}
"""
        )
        return [sys.executable, "-m", "ptm", "preprocess", str(recipe), *overrides]

    return build


Command = Callable[..., list[str]]


def start_and_wait_for_a_shard(command: list[str], partial: Path) -> subprocess.Popen[bytes]:
    """Start `command` in its own process group and return after its first finished shard."""
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(partial.glob("shard-*.json")):
        assert process.poll() is None, "the process ended before it could be stopped"
        assert time.monotonic() < deadline, "the process wrote no shard in 60 s"
        time.sleep(0.002)
    return process


@pytest.fixture
def long_corpus(bundled: Bundled, tmp_path: Path) -> Path:
    """About eight blocks: long enough to be stopped in the middle."""
    path = tmp_path / "long.txt"
    path.write_bytes(b"".join(file.read_bytes() for file in bundled.corpus) * 3)
    return path


def test_a_killed_run_is_resumed_to_the_same_store(
    command: Command, bundled: Bundled, long_corpus: Path, tmp_path: Path
) -> None:
    store, partial = tmp_path / "store", tmp_path / "store.partial"
    again = command(long_corpus, bundled.vocab, store, "data.workers=2")
    process = start_and_wait_for_a_shard(again, partial)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = written(partial)
    undisturbed = make(tmp_path / "undisturbed", long_corpus, bundled.vocab)
    assert 0 < len(before) < len(undisturbed.shards), "the run was not stopped in the middle"

    subprocess.run(again, check=True, stdout=subprocess.DEVNULL)

    assert contents(store) == contents(tmp_path / "undisturbed")
    after = {path.stem: path.stat().st_mtime_ns for path in store.glob("shard-*.bin")}
    assert {name: after[name] for name in before} == before, "finished shards were encoded again"
    assert not partial.exists()


def end_parent_alone(parent: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Kill `parent`; return the children that are alive after 4 s (these are killed too)."""
    children = psutil.Process(parent.pid).children(recursive=True)
    assert children, "the parent has no children"
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs(children, timeout=4)
    left = [child for child in alive if child.status() != psutil.STATUS_ZOMBIE]
    for child in left:
        child.kill()
    return left


def test_workers_end_when_their_parent_is_killed(
    command: Command, bundled: Bundled, long_corpus: Path, tmp_path: Path
) -> None:
    again = command(long_corpus, bundled.vocab, tmp_path / "store", "data.workers=2")
    assert not end_parent_alone(start_and_wait_for_a_shard(again, tmp_path / "store.partial"))


def test_a_terminated_run_ends_its_workers_and_says_how_to_continue(
    command: Command, bundled: Bundled, long_corpus: Path, tmp_path: Path
) -> None:
    again = command(long_corpus, bundled.vocab, tmp_path / "store", "data.workers=2")
    process = subprocess.Popen(
        again,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list((tmp_path / "store.partial").glob("shard-*.json")):
        assert process.poll() is None, "the process ended before it could be stopped"
        time.sleep(0.002)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert "finished shards are kept; the same command continues" in errors
    assert [one for one in workers if one.is_running() and one.status() != "zombie"] == []


def test_workers_that_are_still_starting_end_when_their_parent_is_killed(
    command: Command, bundled: Bundled, long_corpus: Path, tmp_path: Path
) -> None:
    again = command(long_corpus, bundled.vocab, tmp_path / "store", "data.workers=2")
    parent = subprocess.Popen(again, start_new_session=True, stdout=subprocess.DEVNULL)
    while not psutil.Process(parent.pid).children():
        assert parent.poll() is None, "the parent ended before its workers started"
        time.sleep(0.002)
    assert not end_parent_alone(parent)


def peak_megabytes(command: list[str]) -> float:
    """The peak memory of the largest process among `command` and its children."""
    measure = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], check=True, stdout=sys.stderr)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", measure, *command], check=True, capture_output=True, text=True
    )
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return int(done.stdout) / unit


def test_memory_does_not_grow_with_the_size_of_the_decompressed_corpus(
    command: Command, bundled: Bundled, tmp_path: Path
) -> None:
    # About a third of the limit in MB, which two copies beside the program would exceed. Mostly
    # spaces, to be fast.
    corpus = tmp_path / "corpus.txt.xz"
    with lzma.open(corpus, "wb", preset=0) as file:
        for _ in range(LARGEST_MEGABYTES // 3):
            file.write((b"a" + b" " * 9_998 + b"\n") * 100)
    run = command(corpus, bundled.vocab, tmp_path / "store", "data.workers=2")
    assert peak_megabytes(run) < LARGEST_MEGABYTES


@pytest.mark.slow
def test_memory_is_bounded_on_a_large_real_corpus(
    command: Command, shared_data: Path, tmp_path: Path
) -> None:
    run = command(
        shared_data / "poetry_sentences.txt.xz",
        shared_data / "vocab" / "google_zh_vocab.txt",
        tmp_path / "store",
        "data.workers=2",
        "data.layout=sentences",
    )
    assert peak_megabytes(run) < LARGEST_MEGABYTES
    assert json.loads((tmp_path / "store" / "store.json").read_text())["report"]["lines"] > 10**6
