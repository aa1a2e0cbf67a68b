"""Stores of tagged sentences: a tag at the first token of each word, counts in the manifest."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ptm.arrays import I64
from ptm.cli import main
from ptm.data.documents import Documents
from ptm.data.examples import TokenSpans
from ptm.data.tagged import BEGINS, ENDS, TaggedWindows, tagged_windows
from ptm.errors import UserError
from ptm.store.encode import BlockTokenizer
from ptm.store.format import StoreInfo
from ptm.store.reader import TokenStore
from ptm.text.corpus import CorpusReader, ReadOptions, find_corpus, recognise
from ptm.text.tags import TagSet, tags_of_entities
from ptm.text.tokenizers.bpe import Bpe
from ptm.text.tokenizers.wordpiece import WordPiece
from tests.support.small_recipes import RECIPE
from tests.support.tagged_texts import as_lines, make_store, sentences

TEXT = "abc\tB-PER\nde\tI-PER\nf\tO\n\n看书\tB-LOC\n"
"""Pieces: a ##b ##c | d ##e | f, and 看 | 书."""


@pytest.fixture(autouse=True)
def _messages_reach_caplog(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The command line does not pass messages on to the root logger, where caplog listens."""
    logger = logging.getLogger("ptm")
    logger.addHandler(caplog.handler)
    yield
    logger.removeHandler(caplog.handler)


def make(store: Path, *texts: str, vocab: Path, **options: Any) -> StoreInfo:
    tokenizer = WordPiece(type="wordpiece", vocab=str(vocab))
    return make_store(store, *texts, tokenizer=tokenizer, **options)


def tags_in(store: TokenStore) -> list[I64]:
    """The tags of each sentence."""
    starts, lengths = store.document_ranges
    return np.split(store.tags(starts, lengths), np.cumsum(lengths)[:-1])


def test_the_first_token_of_a_word_has_its_tag(tmp_path: Path, tiny_vocab: Path) -> None:
    info = make(tmp_path / "s", TEXT, TEXT, vocab=tiny_vocab)
    store = TokenStore.open(tmp_path / "s")
    assert store.info == info
    assert [one.tolist() for one in tags_in(store)] == [[2, 0, 0, 3, 0, 1], [4, 0]] * 2
    assert info.labels == {"O": 2, "B-PER": 2, "I-PER": 2, "B-LOC": 2, "I-LOC": 0}
    assert info.tag_scheme == "bio"
    assert info.report["words"] == 8


def test_a_word_without_tokens_becomes_the_unknown_token(tmp_path: Path, tiny_vocab: Path) -> None:
    text = "a\tB-PER\n\u200b\tI-PER\nb\tO\n\n\u200b\tO\n"
    info = make(tmp_path / "s", text, vocab=tiny_vocab)
    store = TokenStore.open(tmp_path / "s")
    assert [one.tolist() for one in tags_in(store)] == [[2, 3, 1], [1]]
    unknown = (store.tokens(*store.document_ranges) == 1).tolist()
    assert unknown == [False, True, False, True]
    assert info.report["words_without_tokens"] == 2
    assert info.report["unknown_tokens"] == 2


@pytest.mark.parametrize("lines", [999, 1000])
def test_many_words_without_an_empty_line_are_an_error(
    tmp_path: Path, tiny_vocab: Path, lines: int
) -> None:
    text = "a\tO\n" * lines
    two = make(tmp_path / "two", f"{text}\nb\tO\n", vocab=tiny_vocab)
    assert two.documents == 2
    if lines < 1000:
        assert make(tmp_path / "s", text, vocab=tiny_vocab).documents == 1
        return
    with pytest.raises(UserError, match=r"s-0\.txt: the 1,000 lines .* are one sentence, .*conll"):
        make(tmp_path / "s", text, vocab=tiny_vocab)
    assert not (tmp_path / "s").exists()


def test_each_word_is_tokenised_by_itself(tmp_path: Path, tiny_vocab: Path) -> None:
    words = ["we", "看书", "b3", "we", "x", "我"]
    make(tmp_path / "s", f"{' '.join(words)}\t{' '.join('OOOOOO')}\n", vocab=tiny_vocab)
    store = TokenStore.open(tmp_path / "s")
    loaded = WordPiece(type="wordpiece", vocab=str(tiny_vocab)).load()
    expected = [token for ids in loaded.encode(words) for token in ids]
    assert store.tokens(*store.document_ranges).tolist() == expected


def test_a_word_of_byte_level_bpe_begins_with_its_space(tmp_path: Path) -> None:
    space = "\u0120"
    tokens = ("<unk>", "a", "b", space, f"{space}a", f"{space}ab")
    ids = json.dumps({token: number for number, token in enumerate(tokens)})
    (tmp_path / "vocab.json").write_text(ids, encoding="utf-8")
    merges = f"#version: 0.2\n{space} a\n{space}a b\n"
    (tmp_path / "merges.txt").write_text(merges, encoding="utf-8")
    tokenizer = Bpe(
        type="bpe", vocab=str(tmp_path / "vocab.json"), merges=str(tmp_path / "merges.txt")
    )
    make_store(tmp_path / "s", "ab a\tB-LOC O\n", tokenizer=tokenizer)
    store = TokenStore.open(tmp_path / "s")
    found = [tokens[token] for token in store.tokens(*store.document_ranges).tolist()]
    assert found == [f"{space}ab", f"{space}a"]


@pytest.mark.parametrize("form", ["lines", "conll"])
def test_a_store_has_the_same_bytes_whatever_the_number_of_workers(
    tmp_path: Path, tiny_vocab: Path, form: str
) -> None:
    some = sentences(7_000, seed=3)
    text = as_lines(some)
    if form == "conll":
        text = "\n".join(
            "".join(f"{word} {tag}\n" for word, tag in zip(*one, strict=True)) for one in some
        )
    for workers in (1, 2):
        made = make(tmp_path / f"of-{workers}", text, vocab=tiny_vocab, workers=workers)
        assert len(made.shards) > 2
    one, two = (
        {path.name: path.read_bytes() for path in (tmp_path / f"of-{n}").glob("*.bin")}
        for n in (1, 2)
    )
    assert one == two
    names = TagSet(tags_of_entities(("PER", "LOC"), "bio")).names
    found = [
        [names[tag - 1] for tag in of if tag] for of in tags_in(TokenStore.open(tmp_path / "of-2"))
    ]
    assert found == [tags for _, tags in some]


def test_tags_are_stored_in_the_smallest_type(tmp_path: Path, tiny_vocab: Path) -> None:
    for count, dtype in ((255, "|u1"), (256, "<u2")):
        tags = TagSet(tuple(f"T{number}" for number in range(count)), scheme="plain")
        info = make(tmp_path / f"of-{count}", "a b\tT0 T254\n", vocab=tiny_vocab, tags=tags)
        (section,) = (one for one in info.shards[0].sections if one.name == "tags")
        assert section.dtype == dtype
        store = TokenStore.open(tmp_path / f"of-{count}")
        assert tags_in(store)[0].tolist() == [1, 255]


def test_a_repair_is_named_with_its_line(
    tmp_path: Path, tiny_vocab: Path, caplog: pytest.LogCaptureFixture
) -> None:
    info = make(tmp_path / "s", TEXT, f"{TEXT}\na\tO\nb\tI-LOC\nc\tI-PER\n", vocab=tiny_vocab)
    assert info.report["repaired_tags"] == 2
    assert "2 tags broke the rules of objective.scheme and were repaired" in caplog.text
    assert "the first is " in caplog.text
    assert "s-1.txt:8. The entities stay" in caplog.text


def test_a_large_block_is_cut_between_sentences(tmp_path: Path, tiny_vocab: Path) -> None:
    # Over 4 MB, so that the block is parsed in two pieces.
    count, path = 90_000, tmp_path / "t.txt"
    text = f"a\tB-PER\n{'b' * 40}\tO\n\n" * count
    path.write_text(f"{text}a\tI-PER\n\n", encoding="utf-8")
    files = recognise(find_corpus([str(path)]), "tagged", ReadOptions())
    reader = CorpusReader(files[0], index=0, layout="tagged", block_bytes=2**23)
    first, *_ = reader.blocks()
    encode = BlockTokenizer(
        WordPiece(type="wordpiece", vocab=str(tiny_vocab)),
        None,
        "tagged",
        sentence_splitting=False,
        labels=TagSet(tags_of_entities(("PER", "LOC"), "bio")),
    )
    arrays, counts = encode(first)
    assert arrays["document_lengths"].size == count + 1
    assert (counts.repaired_tags, counts.first_repaired) == (1, 3 * count)


def test_a_tag_that_is_not_declared_means_damage(tmp_path: Path, tiny_vocab: Path) -> None:
    make(tmp_path / "s", TEXT, vocab=tiny_vocab)
    manifest = tmp_path / "s" / "store.json"
    found = json.loads(manifest.read_text(encoding="utf-8"))
    found["labels"] = {"O": 1, "B-PER": 1}
    manifest.write_text(json.dumps(found), encoding="utf-8")
    store = TokenStore.open(tmp_path / "s")
    with pytest.raises(
        UserError, match=r"contains tag 4, but it has 2 tags\. The store is damaged"
    ):
        store.tags(*store.document_ranges)


def test_a_store_of_another_scheme_is_not_taken_for_this_one(
    tmp_path: Path, tiny_vocab: Path
) -> None:
    make(tmp_path / "s", TEXT, vocab=tiny_vocab)
    tags = TagSet(tags_of_entities(("PER", "LOC"), "bio"), scheme="plain")
    with pytest.raises(UserError, match="was made with another scheme of tags"):
        make(tmp_path / "s", TEXT, vocab=tiny_vocab, tags=tags)


def test_a_manifest_of_another_layout_names_no_scheme(tmp_path: Path) -> None:
    from tests.support.labelled_texts import write_corpora, write_stores

    write_corpora(tmp_path)
    write_stores(tmp_path)
    found = json.loads((tmp_path / "train" / "store.json").read_text(encoding="utf-8"))
    assert "tag_scheme" not in found


# Windows


def windows(store: Path, longest: int) -> tuple[TokenStore, TaggedWindows]:
    opened = TokenStore.open(store)
    return opened, tagged_windows(Documents(opened), longest, tags=5)


@pytest.mark.parametrize("longest", [2, 3, 4, 7, 50])
def test_windows_cover_each_word_once_and_begin_with_one(
    tmp_path: Path, tiny_vocab: Path, longest: int
) -> None:
    some = sentences(200, seed=4)
    make(tmp_path / "s", as_lines(some), vocab=tiny_vocab)
    store, found = windows(tmp_path / "s", longest)
    assert found.lengths.max() <= longest
    texts = found.texts(store, np.arange(found.lengths.size))
    assert texts.tags is not None
    assert found.words.sum() == (texts.tags > 0).sum() == sum(len(words) for words, _ in some)
    every = store.tags(*store.document_ranges)
    assert (texts.tags[texts.tags > 0] == every[every > 0]).all()
    first = np.cumsum(found.lengths) - found.lengths
    assert (texts.tags[first] > 0).all()
    # A sentence begins at BEGINS and ends at ENDS.
    assert (found.labels & BEGINS > 0).sum() == (found.labels & ENDS > 0).sum() == len(some)
    begins = np.flatnonzero(found.labels & BEGINS)
    assert np.add.reduceat(found.words, begins).tolist() == [len(words) for words, _ in some]
    assert found.tag_counts.tolist() == list((store.info.labels or {}).values())


def test_joined_windows_keep_their_tags(tmp_path: Path, tiny_vocab: Path) -> None:
    make(tmp_path / "s", as_lines(sentences(9, seed=6)), vocab=tiny_vocab)
    store, found = windows(tmp_path / "s", 8)
    every = np.arange(found.lengths.size)
    joined = TokenSpans.joined([found.texts(store, part) for part in (every[:4], every[4:])])
    assert joined.tags is not None
    assert joined.tags.tolist() == store.tags(found.starts, found.lengths).tolist()


def test_a_window_takes_as_many_words_as_fit(tmp_path: Path, tiny_vocab: Path) -> None:
    make(tmp_path / "s", "abc de f 看 书\tO O O O O\n看 书\tO O\n", vocab=tiny_vocab)
    _, found = windows(tmp_path / "s", 4)
    assert found.lengths.tolist() == [3, 4, 1, 2]
    assert found.words.tolist() == [1, 3, 1, 2]
    assert found.labels.tolist() == [BEGINS, 0, ENDS, BEGINS + ENDS]
    assert found.left_out == {}


def test_a_word_longer_than_a_row_keeps_its_tag(tmp_path: Path, tiny_vocab: Path) -> None:
    make(tmp_path / "s", "a bcdefg h\tO B-PER O\n", vocab=tiny_vocab)
    store, found = windows(tmp_path / "s", 4)
    assert found.lengths.tolist() == [1, 4, 1]
    assert store.tags(found.starts, np.ones(3, np.int64)).tolist() == [1, 2, 1]
    assert found.left_out == {
        "tokens cut off (words too long for a row: 1; their tags are kept)": 2
    }


# `ptm preprocess`


@pytest.fixture
def arguments(tmp_path: Path, tiny_vocab: Path) -> list[str]:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE, encoding="utf-8")
    return [
        *("preprocess", str(recipe), f"tokenizer.vocab={tiny_vocab}", "tokenizer.size=null"),
        *(f"data.corpus={tmp_path}/train.txt", f"data.store={tmp_path}/store"),
        *("data.layout=tagged", "data.held_out=0", "data.sequence_length=16"),
        "objective={type: tagging, entities: [PER, LOC]}",
    ]


def test_the_counts_of_the_tags_are_printed(
    tmp_path: Path,
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "train.txt").write_text(TEXT, encoding="utf-8")
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "2 sentences, 8 tokens in 2 shards" in printed
    assert "words per tag: O: 1, B-PER: 1, I-PER: 1, B-LOC: 1, I-LOC: 0" in printed
    assert 'no training word has the tag "I-LOC", so it cannot be learned' in caplog.text
    assert main(["corpus", f"{tmp_path}/store"]) == 0
    printed = capsys.readouterr().out
    assert "2 sentences, 8 tokens" in printed
    assert "tags: O 1, B-PER 1, I-PER 1, B-LOC 1, I-LOC 0" in printed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tO\nb\tO\n", 'data.corpus: every training word has the tag "O"'),
        ("a\tO\nb\tB-LOK\n", 'train.txt:2: "B-LOK" is not one of the tags'),
        ("\n\n", "train.txt: the corpus contains no tagged word."),
    ],
)
def test_tags_that_cannot_be_learned_leave_no_store(
    tmp_path: Path,
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
    text: str,
    message: str,
) -> None:
    (tmp_path / "train.txt").write_text(text, encoding="utf-8")
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "store").exists()
    assert not (tmp_path / "store.partial" / "work.json").exists()
