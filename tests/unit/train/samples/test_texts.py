"""Texts of samples: gaps in Chinese and English, chosen examples, damaged files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ptm.errors import UserError
from ptm.text.tokenizers.wordpiece import WordPiece
from ptm.train.samples.base import shortened, typical_examples
from ptm.train.samples.masked import token_text, with_gaps
from ptm.train.samples.record import Sample, SampleRecord, read_samples

TOKENS = (
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *("这", "本", "书", "很", "好", "。", "the", "play", "##ing", "is", "good", ".", "7"),
)


@pytest.fixture
def tokenizer(tmp_path: Path) -> WordPiece:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(TOKENS) + "\n", encoding="utf-8")
    return WordPiece(type="wordpiece", vocab=str(path))


@pytest.mark.parametrize(
    ("words", "gaps", "text"),
    [
        ("这 本 书 很 好 。", [1, 4], "这⟨1⟩书很⟨2⟩。"),
        ("这 本 书 很 好 。", [], "这本书很好。"),
        ("the play ##ing is good .", [0, 3], "⟨1⟩ playing ⟨2⟩ good."),
        # A gap inside a word stays with it.
        ("the play ##ing is good .", [2], "the play⟨1⟩ is good."),
        ("the play ##ing is good .", [1], "the ⟨1⟩ing is good."),
        ("the play ##ing is good .", [4, 5], "the playing is ⟨1⟩⟨2⟩"),
        ("书 is good 。", [1], "书⟨1⟩ good。"),
    ],
)
def test_gaps_are_numbered_and_spaced_as_the_words_are(
    tokenizer: WordPiece, words: str, gaps: list[int], text: str
) -> None:
    ids = [TOKENS.index(word) for word in words.split()]
    assert with_gaps(tokenizer.load(), ids, gaps) == text


def test_a_token_that_continues_a_word_shows_it(tokenizer: WordPiece) -> None:
    loaded = tokenizer.load()
    shown = {word: token_text(loaded, TOKENS.index(word)) for word in ("##ing", "play", "[PAD]")}
    assert shown == {"##ing": "##ing", "play": "play", "[PAD]": "[PAD]"}


def test_long_texts_are_cut(tokenizer: WordPiece) -> None:
    ids = [TOKENS.index("书")] * 5
    assert shortened(tokenizer.load(), ids, 3) == "书书书…"
    assert shortened(tokenizer.load(), ids, 5) == "书书书书书"


def test_each_part_of_a_set_gives_its_example_of_median_length() -> None:
    lengths = np.array([1, 9, 5, 30, 10, 20, 7, 7])
    assert typical_examples(lengths, 2).tolist() == [1, 4]
    assert typical_examples(lengths, 100).tolist() == list(range(8))


def test_a_damaged_line_is_named_and_an_incomplete_one_is_skipped(tmp_path: Path) -> None:
    sample = Sample(text="a⟨1⟩", expected=("b",), predicted=("c",), has_gaps=True)
    record = SampleRecord(step=3, evaluation="eval", samples=(sample,))
    path = tmp_path / "samples.jsonl"
    path.write_text(f"{record.model_dump_json()}\n" + '{"step": 4', encoding="utf-8")
    assert read_samples(tmp_path) == [record]
    path.write_text(f'{record.model_dump_json()}\n{{"step": 4}}\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"samples\.jsonl:2: the line is damaged .*Remove it"):
        read_samples(tmp_path)
