"""The strings of unknown tokens, found in a sample of the corpus."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import pytest

from ptm.runs.corpus.unknown_strings import sample_unknown_strings
from ptm.text.tokenizers.wordpiece import WordPiece
from tests.unit.runs.corpus.corpora import drawn_documents, make_store, work_of

TEXTS = drawn_documents(200)


def counted(texts: list[str]) -> dict[str, int]:
    """How often each character occurs that is not in `tiny_vocab`."""
    text = "".join(texts)
    return {one: text.count(one) for one in "é中ξ字"}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    return path


def test_every_unknown_token_of_a_small_corpus_is_counted_by_its_string(
    tmp_path: Path, corpus: Path, tiny_vocab: Path
) -> None:
    found = sample_unknown_strings(work_of(corpus, vocab=tiny_vocab))
    assert dict(found.most_frequent) == counted(TEXTS)
    frequencies = [count for _, count in found.most_frequent]
    assert frequencies == sorted(frequencies, reverse=True)
    store = make_store(tmp_path, corpus, vocab=tiny_vocab)
    assert found.tokens == store.info.report["unknown_tokens"]
    assert (found.documents, found.distinct) == (200, 4)
    assert found.text_bytes == store.info.report["text_bytes"]


def test_a_sample_ends_at_its_limit_and_counts_what_was_read(
    corpus: Path, tiny_vocab: Path
) -> None:
    longer = corpus.with_name("longer.txt")
    longer.write_text(corpus.read_text(encoding="utf-8") * 20, encoding="utf-8")
    found = sample_unknown_strings(work_of(longer, vocab=tiny_vocab), limit=20_000)
    assert 20_000 <= found.text_bytes < 21_000
    read = (TEXTS * 20)[: found.documents]
    assert sum(len(text.encode()) for text in read) == found.text_bytes
    assert dict(found.most_frequent) == counted(read)


def test_every_file_has_its_share_of_the_sample(tmp_path: Path, tiny_vocab: Path) -> None:
    files = [tmp_path / f"{name}.txt" for name in "ab"]
    files[0].write_text("ξ\n" * 100_000, encoding="utf-8")
    files[1].write_text("é\n" * 300_000, encoding="utf-8")
    found = sample_unknown_strings(work_of(*files, vocab=tiny_vocab), limit=80_000)
    assert dict(found.most_frequent) == {"é": 30_000, "ξ": 10_000}


def test_compressed_files_are_read(tmp_path: Path, corpus: Path, tiny_vocab: Path) -> None:
    packed = tmp_path / "corpus.txt.gz"
    packed.write_bytes(gzip.compress(corpus.read_bytes()))
    found = sample_unknown_strings(work_of(packed, vocab=tiny_vocab))
    assert dict(found.most_frequent) == counted(TEXTS)


def test_targets_are_tokenised_with_their_own_vocabulary(tmp_path: Path, tiny_vocab: Path) -> None:
    pairs = tmp_path / "pairs.txt"
    pairs.write_text("a ξ\tξ é\n", encoding="utf-8")
    target = tmp_path / "target.txt"
    target.write_text(tiny_vocab.read_text(encoding="utf-8") + "ξ\n", encoding="utf-8")
    work = replace(
        work_of(pairs, vocab=tiny_vocab, layout="pairs"),
        target_tokenizer=WordPiece(type="wordpiece", vocab=str(target), lowercase=False),
    )
    assert dict(sample_unknown_strings(work).most_frequent) == {"ξ": 1, "é": 1}


def test_a_long_unknown_word_is_shortened(tmp_path: Path, tiny_vocab: Path) -> None:
    (tmp_path / "long.txt").write_text("a" * 500 + "\n", encoding="utf-8")
    found = sample_unknown_strings(work_of(tmp_path / "long.txt", vocab=tiny_vocab))
    assert found.most_frequent == (("a" * 60, 1),)
