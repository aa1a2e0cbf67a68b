from __future__ import annotations

from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ptm.errors import UserError
from ptm.text.segmenters import Segmenter
from ptm.text.segmenters.base import SegmentFunction
from ptm.text.segmenters.jieba import Jieba
from ptm.text.segmenters.rjieba import RJieba
from ptm.text.segmenters.space import Space
from ptm.text.tokenizers import Tokenizer
from ptm.text.tokenizers.char import Char
from ptm.text.tokenizers.wordpiece import WordPiece
from ptm.text.words import chinese_characters
from tests.support.vocabularies import bundled_config
from tests.support.word_starts import assert_words_are_those_of_each_text, encode_each

if TYPE_CHECKING:
    from tests.conftest import RealText


@cache
def loaded(kind: str) -> SegmentFunction:
    """Cached, since jieba takes a second to read its dictionary."""
    segmenters = {"jieba": Jieba, "rjieba": RJieba, "space": Space}
    return segmenters[kind](type=kind).load()


class Once(Segmenter):
    """A segmenter that is loaded once for all tests."""

    type: Literal["jieba", "rjieba", "space"]

    def load(self) -> SegmentFunction:
        return loaded(self.type)


JIEBA, RJIEBA, SPACE = Once(type="jieba"), Once(type="rjieba"), Once(type="space")
segmenters = pytest.mark.parametrize("segmenter", [JIEBA, RJIEBA, SPACE], ids=lambda s: s.type)


def words_of(tokenizer: Tokenizer, segmenter: Segmenter, text: str) -> list[list[str]]:
    """The tokens of `text`, one list per word."""
    ((ids, begins),) = encode_each(tokenizer, segmenter, [text])
    words: list[list[str]] = []
    for index, begin in zip(ids, begins, strict=True):
        if begin:
            words.append([])
        words[-1].append(tokenizer.vocabulary.tokens[index])
    return words


@pytest.fixture
def wordpiece(tiny_vocab: Path) -> Tokenizer:
    return WordPiece(type="wordpiece", vocab=str(tiny_vocab)).load()


@pytest.fixture
def char(tiny_vocab: Path) -> Tokenizer:
    return Char(type="char", vocab=str(tiny_vocab)).load()


# Words of Chinese


@pytest.mark.parametrize("kind", ["wordpiece", "char"])
def test_chinese_characters_are_grouped_into_the_words_of_jieba(
    kind: str, request: pytest.FixtureRequest
) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(kind)
    words = words_of(tokenizer, JIEBA, "我们在北京天安门看书")
    assert ["".join(word) for word in words] == ["我们", "在", "北京", "天安门", "看书"]


def test_words_of_real_chinese_start_with_those_of_the_segmenter(real_text: RealText) -> None:
    cut = RJIEBA.load()
    texts = [text for text in real_text.documents if chinese_characters(text).any()][:150]
    found = encode_each(real_text.tokenizer, RJIEBA, texts)
    encoded = real_text.tokenizer.encode_with_offsets(texts)
    for text, (_, begins), (_, offsets) in zip(texts, found, encoded, strict=True):
        starts = set(np.cumsum([0, *(len(word) for word in cut(text))]).tolist())
        chinese = chinese_characters(text)
        for begin, (first, _) in zip(begins, offsets, strict=True):
            if chinese[first] and first > 0 and chinese[first - 1]:
                assert begin == (first in starts)


def test_spaces_separate_words_of_segmented_chinese(wordpiece: Tokenizer) -> None:
    words = words_of(wordpiece, SPACE, "我们 在 北京天安门")
    assert ["".join(word) for word in words] == ["我们", "在", "北京天安门"]


def test_a_word_ends_at_the_last_chinese_character(wordpiece: Tokenizer) -> None:
    words = words_of(wordpiece, SPACE, "a我们b")
    assert words == [["a"], ["我", "们"], ["b"]]


def test_the_characters_of_a_latin_word_are_one_word(char: Tokenizer) -> None:
    words = words_of(char, SPACE, "book 看书 42")
    assert ["".join(word) for word in words] == ["book", "看书", "42"]


# Pieces


def test_pieces_belong_to_their_word(wordpiece: Tokenizer) -> None:
    words = words_of(wordpiece, JIEBA, "ab c")
    assert words == [["a", "##b"], ["c"]]


@segmenters
def test_a_continuation_never_starts_a_word_of_real_text(
    real_text: RealText, segmenter: Segmenter
) -> None:
    for ids, begins in encode_each(real_text.tokenizer, segmenter, real_text.documents[:40]):
        assert not begins[real_text.tokenizer.continuations[ids]].any()


def test_a_continuation_of_rare_characters_never_starts_a_word(tmp_path: Path) -> None:
    # BERT treats this character as Chinese, but the tokenizers library does not.
    rare = "\U0002b820"
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(["[PAD]", "[UNK]", "a", f"##{rare}"]), encoding="utf-8")
    tokenizer = WordPiece(type="wordpiece", vocab=str(path)).load()
    assert words_of(tokenizer, SPACE, f"a{rare}") == [["a", f"##{rare}"]]


@segmenters
def test_the_first_token_of_a_text_starts_a_word(real_text: RealText, segmenter: Segmenter) -> None:
    found = encode_each(real_text.tokenizer, segmenter, real_text.documents[:40])
    assert all(begins[0] for ids, begins in found if len(ids))


@segmenters
def test_token_ids_are_the_same_with_a_segmenter(real_text: RealText, segmenter: Segmenter) -> None:
    texts = real_text.documents[:40]
    found = encode_each(real_text.tokenizer, segmenter, texts)
    assert [ids.tolist() for ids, _ in found] == real_text.tokenizer.encode(texts)


@segmenters
@pytest.mark.parametrize("text", ["", " ", "\u200b", "\x00\x07"])
def test_a_text_without_tokens_has_no_words(
    wordpiece: Tokenizer, segmenter: Segmenter, text: str
) -> None:
    assert words_of(wordpiece, segmenter, text) == []


# Batches


@segmenters
@pytest.mark.parametrize("kind", ["wordpiece", "char", "space", "bpe", "unigram"])
def test_words_of_a_batch_are_those_of_each_text(
    kind: str, segmenter: Segmenter, tmp_path: Path, bundled_lines: list[str], odd_texts: list[str]
) -> None:
    if kind == "char":
        vocab = Path(bundled_config("wordpiece", tmp_path).source)
        tokenizer = Char(type="char", vocab=str(vocab), lowercase=False).load()
    else:
        tokenizer = bundled_config(kind, tmp_path).load()
    texts = [*bundled_lines[:30], *odd_texts[:600]]
    assert_words_are_those_of_each_text(tokenizer, segmenter, texts)


# Segmenters


@segmenters
def test_concatenated_words_of_real_text_are_the_text(
    real_text: RealText, segmenter: Segmenter
) -> None:
    cut = segmenter.load()
    assert all("".join(cut(text)) == text for text in real_text.documents[:40])


@segmenters
def test_concatenated_words_of_any_text_are_the_text(segmenter: Segmenter) -> None:
    cut = segmenter.load()

    @given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
    def joined(text: str) -> None:
        assert "".join(cut(text)) == text

    joined()


DICTIONARY = """\
我们在北京 1000

天安 0
看书吧
大厦 90000 nz
北 京 90000
"""
"""Words with and without frequency and tag, one that is removed, and one with a space."""


@pytest.fixture(scope="module")
def dictionary(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("dictionary") / "words.txt"
    path.write_text(DICTIONARY, encoding="utf-8")
    return str(path)


with_dictionary = pytest.mark.parametrize("kind", ["jieba", "rjieba"])


def with_words(kind: str, path: str) -> Segmenter:
    if kind == "jieba":
        return Jieba(type="jieba", dictionary=path)
    return RJieba(type="rjieba", dictionary=path)


@with_dictionary
def test_words_of_a_user_dictionary_are_found(kind: str, dictionary: str) -> None:
    cut = with_words(kind, dictionary).load()
    expected = ["我们在北京", "看书吧", "，", "网易", "大厦", "，", "北", " ", "京"]
    assert list(cut("我们在北京看书吧，网易大厦，北 京")) == expected


@with_dictionary
def test_a_user_dictionary_does_not_affect_other_segmenters(kind: str, dictionary: str) -> None:
    list(with_words(kind, dictionary).load()("我们在北京"))
    assert list(loaded(kind)("我们在北京")) == ["我们", "在", "北京"]


def test_rjieba_has_the_words_of_jieba_with_a_dictionary(
    bundled_lines: list[str], tmp_path: Path
) -> None:
    # Every third pair of neighbouring Chinese words becomes one word.
    words = [list(loaded("rjieba")(line)) for line in bundled_lines]
    pairs = [a + b for line in words for a, b in pairwise(line) if chinese_characters(a + b).all()]
    path = tmp_path / "words.txt"
    path.write_text("".join(f"{pair} 500\n" for pair in pairs[::3]), encoding="utf-8")
    ours, theirs = (with_words(kind, str(path)).load() for kind in ("rjieba", "jieba"))
    found = [list(ours(line)) for line in bundled_lines]
    assert found == [list(theirs(line)) for line in bundled_lines]
    assert found != words


def test_a_missing_dictionary_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.txt: cannot be read"):
        Jieba(type="jieba", dictionary=f"{tmp_path}/nowhere.txt").load()


def test_a_frequency_that_is_too_large_is_an_error_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text(f"北京 3\n看书 {10**30}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"words\.txt:2: the frequency 10+ is too large"):
        RJieba(type="rjieba", dictionary=str(path)).load()


def test_a_dictionary_is_an_error_for_words_separated_by_spaces() -> None:
    with pytest.raises(ValidationError, match=r"supports no user dictionary"):
        Space(type="space", dictionary="words.txt")
