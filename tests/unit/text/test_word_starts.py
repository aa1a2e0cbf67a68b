"""Word starts for tokenizers whose pieces carry a word mark, and for whole words."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptm.text.segmenters.rjieba import RJieba
from ptm.text.tokenizers import Tokenizer
from ptm.text.tokenizers.bpe import byte_letters
from ptm.text.words import WordStartEncoder
from tests.support.vocabularies import bundled_config
from tests.support.word_starts import encode_each


@pytest.fixture(scope="module", params=["bpe", "unigram"])
def marked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return bundled_config(request.param, tmp_path_factory.mktemp(request.param)).load()


def written(tokenizer: Tokenizer, tokens: list[str]) -> str:
    joined = "".join(tokens)
    letters = byte_letters()
    if tokenizer.config.WORD_MARK == "Ġ":
        return bytes(letters[c] for c in joined).decode().strip()
    return joined.replace("▁", " ").strip()


def words_of(tokenizer: Tokenizer, text: str) -> list[str]:
    ((ids, begins),) = encode_each(tokenizer, RJieba(type="rjieba"), [text])
    words: list[list[str]] = []
    for index, begin in zip(ids, begins, strict=True):
        if begin:
            words.append([])
        words[-1].append(tokenizer.vocabulary.tokens[index])
    return [written(tokenizer, word) for word in words]


def test_english_words_start_at_their_space(marked: Tokenizer) -> None:
    words = words_of(marked, "yesterday the rainy streets, unbelievably, shone")
    assert words == ["yesterday", "the", "rainy", "streets,", "unbelievably,", "shone"]


def test_chinese_byte_tokens_and_pieces_are_grouped_into_the_words_of_the_segmenter(
    marked: Tokenizer,
) -> None:
    words = words_of(marked, "我们在北京看书 we read书")
    assert "".join(words).replace(" ", "") == "我们在北京看书weread书"
    # A piece may span several words, but no character is split.
    assert {"我们", "北京", "看书"} <= set(words) or marked.config.type == "sentencepiece"
    assert words[-1] == "书"


def test_text_after_chinese_starts_a_word(marked: Tokenizer) -> None:
    assert words_of(marked, "我们the看书") == ["我们", "the", "看书"]


def test_a_bare_word_mark_is_not_a_word(marked: Tokenizer) -> None:
    for text in ("我们 在 北京", "a 𝔘 b", "x 龘龘"):
        assert all(words_of(marked, text)), text


def test_the_first_token_starts_a_word_and_ids_are_unchanged(
    marked: Tokenizer, bundled_lines: list[str]
) -> None:
    found = encode_each(marked, RJieba(type="rjieba"), bundled_lines)
    assert [ids.tolist() for ids, _ in found] == marked.encode(bundled_lines)
    assert all(begins[0] for _, begins in found)


def test_unusual_characters_do_not_raise(marked: Tokenizer) -> None:
    for text in ("½", "表情😀👍🏽", "e\u0301 x\u0301", "ｆｕｌｌ １２", " ", "\u200b", "…½"):
        words_of(marked, text)


def test_every_token_of_segmented_text_is_a_word(tmp_path: Path, bundled_lines: list[str]) -> None:
    tokenizer = bundled_config("space", tmp_path).load()
    encoder = WordStartEncoder(tokenizer, RJieba(type="rjieba"))
    _, _, begins = encoder.encode([*bundled_lines, "我们 在a北京 看书"])
    assert begins.all()
