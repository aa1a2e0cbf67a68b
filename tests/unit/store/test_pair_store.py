"""Stores of pairs: two sentences per document, each with its own tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ptm.data.documents import held_out_documents
from ptm.errors import UserError
from ptm.store.format import StoreInfo
from ptm.store.preprocess import Preprocessing, PreprocessingProgress, preprocess
from ptm.store.reader import TokenStore
from ptm.text.corpus import find_corpus
from ptm.text.tokenizers import Tokenizer
from ptm.text.tokenizers.char import Char
from ptm.text.tokenizers.wordpiece import WordPiece


def make(
    store: Path,
    corpus: Path,
    vocab: Path,
    *,
    target: Path | None = None,
    target_size: int | None = None,
    workers: int = 1,
    fresh: bool = False,
    report: Callable[[PreprocessingProgress], None] = lambda _: None,
) -> StoreInfo:
    work = Preprocessing(
        corpus=find_corpus([str(corpus)]),
        layout="pairs",
        tokenizer=WordPiece(type="wordpiece", vocab=str(vocab)),
        segmenter=None,
        target_tokenizer=Char(type="char", vocab=str(target), size=target_size) if target else None,
    )
    return preprocess(work, store, workers=workers, fresh=fresh, report=report)


def pairs_of(store: TokenStore) -> list[tuple[list[int], list[int]]]:
    starts, lengths, counts = store.sentence_ranges
    assert (counts == 2).all()
    ends = np.cumsum(lengths)
    sides = [part.tolist() for part in np.split(store.tokens(starts, lengths), ends[:-1])]
    return list(zip(sides[::2], sides[1::2], strict=True))


def words(tokenizer: Tokenizer, ids: list[int]) -> str:
    return " ".join(tokenizer.vocabulary.tokens[token] for token in ids)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def other_vocab(tmp_path: Path) -> Path:
    """A vocabulary with other ids for the special tokens, Chinese characters, and one letter."""
    tokens = ["[UNK]", *"看书我们", "a", "[PAD]", "[CLS]", "[SEP]", "[MASK]"]
    return write(tmp_path / "other_vocab.txt", "\n".join(tokens) + "\n")


def test_each_side_is_tokenised_by_its_own_tokenizer(
    tmp_path: Path, tiny_vocab: Path, other_vocab: Path
) -> None:
    corpus = write(tmp_path / "pairs.txt", "ab c\t我们看书\na\t书a\n")
    info = make(tmp_path / "store", corpus, tiny_vocab, target=other_vocab)
    found = pairs_of(TokenStore.open(tmp_path / "store"))
    source = WordPiece(type="wordpiece", vocab=str(tiny_vocab)).load()
    target = Char(type="char", vocab=str(other_vocab)).load()
    assert [words(source, side) for side, _ in found] == ["a ##b c", "a"]
    assert [words(target, side) for _, side in found] == ["我 们 看 书", "书 a"]
    assert (info.vocabulary_size, info.target_size) == (
        source.vocabulary.size,
        target.vocabulary.size,
    )
    assert (info.tokenizer, info.target_tokenizer) == (source.fingerprint, target.fingerprint)


def test_without_a_target_tokenizer_the_tokenizer_is_used_for_both_sides(
    tmp_path: Path, tiny_vocab: Path
) -> None:
    corpus = write(tmp_path / "pairs.txt", "ab\tba\n")
    info = make(tmp_path / "store", corpus, tiny_vocab)
    source = WordPiece(type="wordpiece", vocab=str(tiny_vocab)).load()
    (pair,) = pairs_of(TokenStore.open(tmp_path / "store"))
    assert [words(source, side) for side in pair] == ["a ##b", "b ##a"]
    assert info.target_tokenizer is None
    assert info.target_size == info.vocabulary_size


@pytest.mark.parametrize("line", ["a\t", "\ta", "a\t\u200b", "\u200b\ta", "\u200b\t\u200b"])
def test_a_pair_with_an_empty_side_is_left_out_and_counted(
    tmp_path: Path, tiny_vocab: Path, line: str
) -> None:
    corpus = write(tmp_path / "pairs.txt", f"b\tc\n{line}\n\nd\te e\n")
    info = make(tmp_path / "store", corpus, tiny_vocab)
    assert dict(info.report) == {
        "lines": 4,
        "blank_lines": 1,
        "invalid_lines": 0,
        "text_bytes": 6 + len(line.replace("\t", "").encode()),
        "unknown_tokens": 0,
        "pairs_with_an_empty_side": 1,
        "source_tokens": 2,
        "target_tokens": 3,
    }
    assert [(len(a), len(b)) for a, b in pairs_of(TokenStore.open(tmp_path / "store"))] == [
        (1, 1),
        (1, 2),
    ]
    assert info.documents == 2


def test_a_corpus_whose_pairs_all_have_an_empty_side_is_an_error(
    tmp_path: Path, tiny_vocab: Path
) -> None:
    corpus = write(tmp_path / "pairs.txt", "a\t\n\tb\n\n")
    with pytest.raises(UserError, match="none of the 2 pairs has text on both sides"):
        make(tmp_path / "store", corpus, tiny_vocab)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_line_that_is_not_a_pair_is_an_error_and_leaves_no_files(
    tmp_path: Path, tiny_vocab: Path, workers: int
) -> None:
    line = "a" + " " * 98 + "\tb\n"
    corpus = write(tmp_path / "pairs.txt", line * 6_000 + "no pair\n" + line)
    with pytest.raises(UserError, match=r'pairs\.txt:6001: "no pair" is not a pair'):
        make(tmp_path / "store", corpus, tiny_vocab, workers=workers)
    assert not list(tmp_path.glob("store*"))


def test_the_larger_vocabulary_determines_the_width_of_token_ids(
    tmp_path: Path, tiny_vocab: Path
) -> None:
    rare = [chr(0x10000 + number) for number in range(70_000)]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *rare]
    large = write(tmp_path / "large.txt", "\n".join(tokens))
    corpus = write(tmp_path / "pairs.txt", f"a\t{tokens[-1]}\n")
    make(tmp_path / "store", corpus, tiny_vocab, target=large)
    ((_, target),) = pairs_of(TokenStore.open(tmp_path / "store"))
    assert target == [len(tokens) - 1]


def test_a_wrong_size_of_the_target_vocabulary_is_an_error_that_names_its_key(
    tmp_path: Path, tiny_vocab: Path, other_vocab: Path
) -> None:
    corpus = write(tmp_path / "pairs.txt", "a\tb\n")
    with pytest.raises(UserError, match=r"Set target_tokenizer\.size to 10"):
        make(tmp_path / "store", corpus, tiny_vocab, target=other_vocab, target_size=11)


# A store that exists already


@pytest.mark.parametrize("had_target", [True, False])
def test_a_store_with_another_target_tokenizer_is_an_error_that_names_it(
    tmp_path: Path, tiny_vocab: Path, other_vocab: Path, had_target: bool
) -> None:
    corpus, store = write(tmp_path / "pairs.txt", "a\t看\n"), tmp_path / "store"
    make(store, corpus, tiny_vocab, target=other_vocab if had_target else None)
    with pytest.raises(UserError, match=r"was made with another target tokenizer\."):
        make(store, corpus, tiny_vocab, target=None if had_target else other_vocab)


def test_fingerprints_differ_if_only_the_target_tokenizer_differs(
    tmp_path: Path, tiny_vocab: Path
) -> None:
    corpus = write(tmp_path / "pairs.txt", "a\t看\n")
    one = make(tmp_path / "one", corpus, tiny_vocab)
    other = make(tmp_path / "other", corpus, tiny_vocab, target=tiny_vocab)
    assert one.shards == other.shards
    assert one.fingerprint != other.fingerprint


def test_a_store_from_before_target_tokenizers_has_the_same_fingerprint(
    tmp_path: Path, tiny_vocab: Path
) -> None:
    corpus, store = write(tmp_path / "pairs.txt", "a\tb\n"), tmp_path / "store"
    info = make(store, corpus, tiny_vocab)
    data = json.loads((store / "store.json").read_text())
    del data["target_tokenizer"], data["target_vocabulary_size"]
    (store / "store.json").write_text(json.dumps(data))
    # Stores of that time have no marker, which holds the checksum of the manifest.
    (store / ".ptm-folder").unlink()
    assert TokenStore.open(store).info.fingerprint == info.fingerprint
    make(store, corpus, tiny_vocab)


def test_a_stopped_run_is_resumed_to_the_same_store(
    tmp_path: Path, tiny_vocab: Path, other_vocab: Path
) -> None:
    corpus = write(tmp_path / "pairs.txt", ("a" + " " * 98 + "\t看书\n") * 11_000)
    whole = make(tmp_path / "whole", corpus, tiny_vocab, target=other_vocab)
    assert len(whole.shards) > 2
    seen: list[PreprocessingProgress] = []

    def stop(progress: PreprocessingProgress) -> None:
        seen.append(progress)
        if len(seen) == 2:
            raise KeyboardInterrupt

    store, partial = tmp_path / "store", tmp_path / "store.partial"
    with pytest.raises(KeyboardInterrupt):
        make(store, corpus, tiny_vocab, target=other_vocab, report=stop)
    before = {path.name: path.stat().st_mtime_ns for path in partial.glob("*.bin")}
    assert make(store, corpus, tiny_vocab, target=other_vocab) == whole
    assert before.items() <= {p.name: p.stat().st_mtime_ns for p in store.glob("*.bin")}.items()


# Held-out split


def flags(store: TokenStore, share: float) -> NDArray[np.bool_]:
    return held_out_documents(store.document_hashes, share)


def test_copies_of_a_pair_are_held_out_together_but_not_other_targets_of_a_source(
    tmp_path: Path, tiny_vocab: Path
) -> None:
    lines = [f"{a} {b}\t{b} {c}\n" for a in "abcd" for b in "efgh" for c in "ijkl"]
    corpus = write(tmp_path / "pairs.txt", "".join(lines * 2))
    make(tmp_path / "store", corpus, tiny_vocab)
    held_out = flags(TokenStore.open(tmp_path / "store"), 0.3)
    assert (held_out[: len(lines)] == held_out[len(lines) :]).all()
    assert held_out[: len(lines)].sum() == round(0.3 * len(lines))
    by_source = held_out[: len(lines)].reshape(-1, 4)
    assert (by_source.any(axis=1) & ~by_source.all(axis=1)).any()


# Real text


def test_a_store_returns_the_ids_of_real_pairs(shared_data: Path, tmp_path: Path) -> None:
    corpus = shared_data / "news-commentary-v13-en-zh_sampled.txt"
    english, chinese = (
        shared_data / "vocab" / f"google_{name}_vocab.txt" for name in ("uncased_en", "zh")
    )
    info = make(tmp_path / "store", corpus, english, target=chinese)
    lines = [line.split("\t") for line in corpus.read_text(encoding="utf-8").splitlines()]
    source = WordPiece(type="wordpiece", vocab=str(english)).load()
    target = Char(type="char", vocab=str(chinese)).load()
    expected = list(
        zip(source.encode([a for a, _ in lines]), target.encode([b for _, b in lines]), strict=True)
    )
    left_out = [pair for pair in expected if not all(pair)]
    assert pairs_of(TokenStore.open(tmp_path / "store")) == [pair for pair in expected if all(pair)]
    assert info.report["pairs_with_an_empty_side"] == len(left_out)
    assert info.report["source_tokens"] == sum(len(a) for a, b in expected if a and b)
