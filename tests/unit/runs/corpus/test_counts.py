"""The numbers of a store against counts over its corpus, text by text."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from ptm.runs.corpus.counts import count_store, token_counts
from ptm.store.reader import TokenStore
from ptm.text.tokenizers import Tokenizer
from tests.unit.runs.corpus.corpora import drawn_documents, make_store, work_of

TEXTS = drawn_documents(300)
FLAWS = b"\n  \n\xff\xfe\n" + "\u200b\n".encode()
"""Two blank lines, a line that is not UTF-8, and one without tokens."""


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """The corpus in three files; the second has flaws."""
    paths = [tmp_path / f"{number}.txt" for number in range(3)]
    for number, path in enumerate(paths):
        lines = "\n".join(TEXTS[number * 100 : number * 100 + 100]).encode() + b"\n"
        path.write_bytes(lines + (FLAWS if number == 1 else b""))
    return paths


@pytest.fixture
def store(tmp_path: Path, files: list[Path], tiny_vocab: Path) -> TokenStore:
    return make_store(tmp_path, *files, vocab=tiny_vocab)


@pytest.fixture
def tokenizer(files: list[Path], tiny_vocab: Path) -> Tokenizer:
    return work_of(*files, vocab=tiny_vocab).tokenizer.load()


def test_documents_tokens_and_text_are_counted(store: TokenStore, tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(TEXTS)
    counts = count_store(store)
    assert len(store.info.shards) == 3
    assert (counts.documents, counts.sentences) == (300, 300)
    assert counts.tokens == sum(map(len, ids))
    # The text of the line without tokens counts too, since it was read.
    assert counts.text_bytes == sum(len(text.encode()) for text in TEXTS) + 3
    assert counts.lengths.lengths.tolist() == sorted({len(one) for one in ids})
    assert counts.lengths.tokens == counts.tokens


def test_unknown_and_used_tokens_are_counted(store: TokenStore, tokenizer: Tokenizer) -> None:
    every = Counter(token for ids in tokenizer.encode(TEXTS) for token in ids)
    unknown = tokenizer.vocabulary.special_id("unk")
    counts = count_store(store)
    assert counts.unknown_tokens == every[unknown] > 0
    assert counts.tokens_used == len(every)
    assert Counter(dict(enumerate(token_counts(store).tolist()))) == every


def test_the_unknown_tokens_of_a_store_without_their_count_are_counted(
    store: TokenStore, tokenizer: Tokenizer
) -> None:
    expected = count_store(store).unknown_tokens
    manifest = store.folder / "store.json"
    data = json.loads(manifest.read_text(encoding="utf-8"))
    del data["report"]["unknown_tokens"], data["report"]["text_bytes"]
    manifest.write_text(json.dumps(data), encoding="utf-8")
    earlier = TokenStore.open(store.folder)
    unknown = tokenizer.vocabulary.special_id("unk")
    assert count_store(earlier, unknown_id=unknown).unknown_tokens == expected
    without_vocabulary = count_store(earlier)
    assert (without_vocabulary.unknown_tokens, without_vocabulary.bytes_per_token) == (None, None)


def test_lines_are_left_out_by_reason(store: TokenStore) -> None:
    counts = count_store(store)
    assert counts.lines == 304
    assert counts.left_out == {"blank lines": 2, "invalid lines": 1, "empty documents": 1}


def test_exact_duplicates_are_found_across_shards(store: TokenStore, tokenizer: Tokenizer) -> None:
    ids = [tuple(one) for one in tokenizer.encode(TEXTS)]
    every = Counter(ids)
    found = count_store(store).duplicates
    assert found.copies == len(ids) - len(every) > 50
    assert found.repeated == sum(count > 1 for count in every.values())
    assert [one.count for one in found.most_repeated] == sorted(every.values(), reverse=True)[:5]
    flat = [token for one in ids for token in one]
    for one in found.most_repeated:
        text = tuple(flat[one.start : one.start + one.length])
        assert every[text] == one.count
        assert one.start == sum(map(len, ids[: ids.index(text)]))


def test_a_corpus_without_duplicates_has_none(tmp_path: Path, tiny_vocab: Path) -> None:
    (tmp_path / "a.txt").write_text("a\nb\na b\n", encoding="utf-8")
    found = count_store(make_store(tmp_path, tmp_path / "a.txt", vocab=tiny_vocab)).duplicates
    assert (found.copies, found.repeated, found.most_repeated) == (0, 0, ())


def test_sentences_of_documents_are_counted(tmp_path: Path, tiny_vocab: Path) -> None:
    (tmp_path / "a.txt").write_text("a b\nc\n\nd\n", encoding="utf-8")
    store = make_store(tmp_path, tmp_path / "a.txt", vocab=tiny_vocab, layout="sentences")
    counts = count_store(store)
    assert (counts.documents, counts.sentences, counts.tokens, counts.text_bytes) == (2, 3, 4, 5)
    assert counts.lengths.counts.tolist() == [1, 1]


def test_a_pair_is_one_document(tmp_path: Path, tiny_vocab: Path) -> None:
    (tmp_path / "a.txt").write_text("a b\tc\nd\te ξ\n", encoding="utf-8")
    counts = count_store(make_store(tmp_path, tmp_path / "a.txt", vocab=tiny_vocab, layout="pairs"))
    assert (counts.documents, counts.sentences, counts.tokens) == (2, 4, 6)
    assert (counts.lengths.lengths.tolist(), counts.unknown_tokens) == ([3], 1)
    assert counts.left_out == {"blank lines": 0, "invalid lines": 0, "pairs with an empty side": 0}
