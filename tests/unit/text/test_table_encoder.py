"""The tables of characters and runs give the ids and first characters of the whole pipeline."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ptm.text.tokenizers.char import Char
from ptm.text.tokenizers.char_table import RunTable
from ptm.text.tokenizers.space import Space
from ptm.text.tokenizers.table_encoder import TableEncoder
from ptm.text.tokenizers.tokenizer import PipelineEncoder
from ptm.text.tokenizers.wordpiece import WordPiece
from tests.conftest import Bundled

KINDS = {"wordpiece": WordPiece, "char": Char, "space": Space}
CASES = [(kind, lowercase) for kind in KINDS for lowercase in (True, False)]
every_case = pytest.mark.parametrize(("kind", "lowercase"), CASES)


def loaded(kind: str, vocab: Path, *, lowercase: bool) -> TableEncoder:
    encoder = KINDS[kind](type=kind, vocab=str(vocab), lowercase=lowercase).load().encoder
    assert isinstance(encoder, TableEncoder)
    return encoder


def assert_equal_to_the_pipeline(encoder: TableEncoder, texts: Sequence[str]) -> None:
    """Compare ids and lengths of all texts with those of the pipeline, each text alone."""
    ids, lengths = encoder.encode_arrays(texts)
    expected, counts = PipelineEncoder(encoder.pipeline).encode_arrays(texts)
    differing = np.flatnonzero(lengths != counts)
    assert not differing.size, repr(texts[int(differing[0])])
    position = np.flatnonzero(ids != expected)
    text = np.searchsorted(np.cumsum(counts), position[:1], side="right")
    assert not position.size, repr(texts[int(text[0])])


@pytest.mark.parametrize(
    ("kind", "lowercase", "step"),
    [
        ("wordpiece", True, 1),
        ("wordpiece", False, 3),
        *((kind, lowercase, 20) for kind in ("char", "space") for lowercase in (True, False)),
    ],
)
def test_characters_in_context_have_the_ids_of_the_pipeline(
    kind: str, lowercase: bool, step: int, bundled: Bundled
) -> None:
    characters = [chr(c) for c in range(0, 0x10000, step) if not 0xD800 <= c < 0xE000]
    encoder = loaded(kind, bundled.vocab, lowercase=lowercase)
    for context in ("a{}b", "我{}\u0301{}"):
        texts = [context.replace("{}", character) for character in characters]
        assert_equal_to_the_pipeline(encoder, texts)


@pytest.mark.slow
@every_case
def test_every_character_in_all_contexts_has_the_ids_of_the_pipeline(
    kind: str, lowercase: bool, bundled: Bundled
) -> None:
    # All planes to the last one with scripts, and a part of the others.
    points = range(sys.maxunicode + 1)
    characters = [
        chr(c) for c in points if not 0xD800 <= c < 0xE000 and (c < 0x33480 or c % 7 == 0)
    ]
    encoder = loaded(kind, bundled.vocab, lowercase=lowercase)
    for context in (
        *("{}", "{}{}", "a{}", "{}a", "a{}b", "1{}2", "a {} b", "我{}们", "我{}", "{}我", "!{}!"),
        *(
            "a{}\u0301",
            "{}\u0323\u0301",
            "\u0301{}",
            "e\u0301{}\u0323",
            "\u200d{}\u200d",
            "각{}\u1161",
        ),
    ):
        texts = [context.replace("{}", character) for character in characters]
        assert_equal_to_the_pipeline(encoder, texts)


@every_case
def test_random_texts_have_the_ids_of_the_pipeline(
    kind: str, lowercase: bool, bundled: Bundled, odd_texts: list[str]
) -> None:
    assert_equal_to_the_pipeline(loaded(kind, bundled.vocab, lowercase=lowercase), odd_texts)


@every_case
def test_first_characters_are_those_of_the_pipeline(
    kind: str, lowercase: bool, bundled: Bundled, odd_texts: list[str]
) -> None:
    encoder = loaded(kind, bundled.vocab, lowercase=lowercase)
    found = encoder.encode_arrays_with_starts(odd_texts)
    expected = PipelineEncoder(encoder.pipeline).encode_arrays_with_starts(odd_texts)
    for one, other in zip(found, expected, strict=True):
        assert (one == other).all()


@every_case
def test_special_tokens_and_marks_in_a_text_are_plain_text(
    kind: str, lowercase: bool, bundled: Bundled
) -> None:
    texts = ["[MASK]", "a[SEP]b [UNK]", "##a", "a ##", "[PAD] 我[CLS]们", "[unused1]"]
    encoder = loaded(kind, bundled.vocab, lowercase=lowercase)
    assert_equal_to_the_pipeline(encoder, texts)
    if kind != "char":
        special = {encoder.pipeline.token_to_id(token) for token in ("[MASK]", "[SEP]", "[CLS]")}
        assert not special & set(encoder.encode_arrays(texts)[0].tolist())


def test_words_at_the_limit_of_wordpiece_have_the_ids_of_the_pipeline(bundled: Bundled) -> None:
    # Words of more than 100 characters are unknown; accents count only until they are removed.
    words = [
        letter * size for letter in ("a", "é", "e\u0301") for size in (50, 64, 65, 99, 100, 101)
    ]
    texts = [*words, *(f"我{word}们" for word in words), "b" * 100_000, *words]
    assert_equal_to_the_pipeline(loaded("wordpiece", bundled.vocab, lowercase=True), texts)


@pytest.mark.parametrize("texts", [[], [""], ["", "a", "", "", "我\n们\n", "\n"]])
def test_empty_texts_and_newlines_are_handled(texts: list[str], bundled: Bundled) -> None:
    encoder = loaded("wordpiece", bundled.vocab, lowercase=True)
    assert_equal_to_the_pipeline(encoder, texts)
    assert encoder.encode_arrays(texts)[1].shape == (len(texts),)


def test_a_vocabulary_of_more_than_65536_tokens_has_the_ids_of_the_pipeline(
    tmp_path: Path,
) -> None:
    blocks = (range(0xAC00, 0xD7A4), range(0x4E00, 0x9FA6), range(0x20000, 0x2A000))
    characters = [chr(point) for block in blocks for point in block]
    vocab = tmp_path / "vocab.txt"
    vocab.write_text("\n".join(["[PAD]", "[UNK]", *characters]), encoding="utf-8")
    text = "".join(characters[::5])
    for kind in ("wordpiece", "char"):
        encoder = loaded(kind, vocab, lowercase=True)
        assert encoder.encode_arrays([text])[0].max() > 2**16 - 3
        assert_equal_to_the_pipeline(encoder, [text])


def test_runs_that_were_forgotten_are_tokenised_again(bundled: Bundled) -> None:
    pipeline = loaded("wordpiece", bundled.vocab, lowercase=True).pipeline
    table = RunTable(pipeline, with_starts=True, most_runs=50)
    for begin in (0, 30, 10, 60, 0, 90):
        runs = [f"word{number}" for number in range(begin, begin + 40)] * 2
        ids, lengths, starts = table.tokens(runs)
        encoded = pipeline.encode_batch(runs, add_special_tokens=False)
        assert ids.tolist() == [index for one in encoded for index in one.ids]
        assert starts.tolist() == [first for one in encoded for first, _ in one.offsets]
        assert lengths.tolist() == [len(one.ids) for one in encoded]


@pytest.mark.slow
@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("vocab", ["google_zh_vocab.txt", "google_uncased_en_vocab.txt"])
def test_every_line_of_the_shared_corpora_has_the_ids_of_the_pipeline(
    vocab: str, lowercase: bool, shared_data: Path
) -> None:
    encoder = loaded("wordpiece", shared_data / "vocab" / vocab, lowercase=lowercase)
    for path in (*sorted(shared_data.rglob("*.txt")), *sorted(shared_data.rglob("*.tsv"))):
        lines = path.read_text(encoding="utf-8").split("\n")
        for at in range(0, len(lines), 2_000):
            assert_equal_to_the_pipeline(encoder, lines[at : at + 2_000])
