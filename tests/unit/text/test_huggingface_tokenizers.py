"""Tokenizers of the Hub: the ids of the `tokenizers` library, special tokens, words, messages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from ptm.errors import UserError
from ptm.interop.adapt_vocabulary import find_tokenizer
from ptm.text.compare_vocabularies import compare
from ptm.text.segmenters import Segmenter
from ptm.text.segmenters.rjieba import RJieba
from ptm.text.tokenizers import AnyTokenizer, Tokenizer, TokenizerConfig
from ptm.text.tokenizers.huggingface import HuggingFace
from tests.support.covers import by_default
from tests.support.hub_tokenizers import KINDS, corpus_lines, drawn_texts, made
from tests.support.word_starts import assert_words_are_those_of_each_text, encode_each

DEFAULT = ("llama3", "qwen2", "modernbert", "bert with added words", "xlm-roberta", "t5", "words")
each_kind = pytest.mark.parametrize("kind", [by_default(kind, DEFAULT) for kind in KINDS])


def config_of(kind: str, folder: Path, **options: Any) -> HuggingFace:
    path = folder / "tokenizer.json"
    made(kind).pipeline.save(str(path))
    block = {"file": str(path), "special_tokens": made(kind).roles, **options}
    return HuggingFace.model_validate({"type": "huggingface", **block})


def special_ids(tokenizer: Tokenizer) -> set[int]:
    vocabulary = tokenizer.vocabulary
    named = {*vocabulary.specials.values(), *vocabulary.reserved}
    return {vocabulary.ids[token] for token in named if token in vocabulary.ids}


def words_of(tokenizer: Tokenizer, text: str, segmenter: Segmenter | None = None) -> list[str]:
    """The words of the text, decoded."""
    ((ids, begins),) = encode_each(tokenizer, segmenter or RJieba(type="rjieba"), [text])
    words: list[list[int]] = []
    for index, begin in zip(ids.tolist(), begins, strict=True):
        if begin:
            words.append([])
        words[-1].append(index)
    return [tokenizer.decode(word).strip() for word in words]


@each_kind
def test_ids_are_those_of_the_library(kind: str, tmp_path: Path) -> None:
    tokenizer = config_of(kind, tmp_path).load()
    theirs = made(kind).pipeline
    texts = [*corpus_lines()[:200], *drawn_texts(500)]
    found = theirs.encode_batch(texts, add_special_tokens=False)
    for text, mine, other in zip(texts, tokenizer.encode(texts), found, strict=True):
        assert mine == other.ids, text
    assert tokenizer.vocabulary.ids == theirs.get_vocab()


@each_kind
def test_special_tokens_in_a_text_are_plain_text(kind: str, tmp_path: Path) -> None:
    tokenizer = config_of(kind, tmp_path).load()
    vocabulary = tokenizer.vocabulary
    special = special_ids(tokenizer)
    texts = drawn_texts(500, [vocabulary.tokens[index] for index in special])
    unknown = vocabulary.ids.get(vocabulary.special_token("unk"), -1)
    for text, ids in zip(texts, tokenizer.encode(texts), strict=True):
        assert not (special - {unknown}) & set(ids), text


def test_a_special_token_that_the_file_does_not_list_is_plain_text(tmp_path: Path) -> None:
    """A word of the model alone, for instance <s> of a vocabulary of whole words."""
    config = config_of("words", tmp_path)
    path = Path(config.file)
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "added_tokens": []}))
    tokenizer = config.load()
    (ids,) = tokenizer.encode(["[MASK] the [CLS]"])
    unknown = tokenizer.vocabulary.special_id("unk")
    assert ids == [unknown, tokenizer.vocabulary.ids["the"], unknown]
    mask = tokenizer.vocabulary.special_id("mask")
    assert tokenizer.encode_with_masks("[MASK] the [CLS]")[1:-1] == [mask, ids[1], unknown]


def test_truncation_and_padding_of_the_file_are_ignored(tmp_path: Path) -> None:
    config = config_of("modernbert", tmp_path)
    expected = config.load().encode(["the colour of the sky", "a"])
    pipeline = made("modernbert").pipeline.from_file(config.file)
    pipeline.enable_truncation(2)
    pipeline.enable_padding(length=8)
    pipeline.save(config.file)
    assert config.load().encode(["the colour of the sky", "a"]) == expected
    assert len(expected[0]) > 2


@each_kind
def test_texts_are_decoded(kind: str, tmp_path: Path) -> None:
    tokenizer = config_of(kind, tmp_path).load()
    text = "the sky and 天气"
    decoded = tokenizer.decode(tokenizer.encode([text])[0])
    unknown = tokenizer.vocabulary.special_token("unk")
    if unknown not in decoded:
        assert decoded.replace(" ", "") == text.replace(" ", "")
    assert "the sky" in decoded


# Words


@pytest.mark.parametrize("kind", ["llama3", "qwen2", "xlm-roberta", "words that end in </w>"])
def test_words_are_separated_by_spaces_and_punctuation(kind: str, tmp_path: Path) -> None:
    tokenizer = config_of(kind, tmp_path).load()
    text = "the extraordinarily colourful, sky-blue things"
    expected = ["the", "extraordinarily", "colourful", ",", "sky", "-", "blue", "things"]
    assert words_of(tokenizer, text) == expected


def test_words_of_chinese_characters_are_those_of_the_segmenter(tmp_path: Path) -> None:
    tokenizer = config_of("llama3", tmp_path).load()
    expected = ["我们", "在", "北京", "abc", "def"]
    assert words_of(tokenizer, "我们在北京abc def") == expected


@each_kind
def test_the_ids_are_the_same_with_word_starts(kind: str, tmp_path: Path) -> None:
    tokenizer = config_of(kind, tmp_path).load()
    texts = [text for text in [*corpus_lines()[:50], *drawn_texts(100)] if text]
    found = encode_each(tokenizer, RJieba(type="rjieba"), texts)
    for ids, (tokens, begins) in zip(tokenizer.encode(texts), found, strict=True):
        assert tokens.tolist() == ids
        assert len(begins) == len(ids)
        assert begins[:1].all()


@each_kind
def test_words_of_a_batch_are_those_of_each_text(kind: str, tmp_path: Path) -> None:
    tokenizer = config_of(kind, tmp_path).load()
    texts = [*corpus_lines()[:20], *drawn_texts(200), "ends with a space ", " ", "我们\u3000", "a"]
    assert_words_are_those_of_each_text(tokenizer, RJieba(type="rjieba"), texts)


# The block


def fingerprint(config: HuggingFace) -> str:
    return config.load().fingerprint


def test_the_fingerprint_covers_what_changes_ids(tmp_path: Path) -> None:
    config = config_of("bert with added words", tmp_path)
    before = fingerprint(config)
    content = json.loads(Path(config.file).read_text())
    changes: list[dict[str, Any]] = [
        {"normalizer": {"type": "NFKC"}},
        {"pre_tokenizer": {"type": "Whitespace"}},
        {"added_tokens": content["added_tokens"][:-1]},
        {"model": {**content["model"], "max_input_chars_per_word": 7}},
    ]
    for change in changes:
        other = tmp_path / "other.json"
        other.write_text(json.dumps({**content, **change}))
        assert fingerprint(config.model_copy(update={"file": str(other)})) != before, change
    same = tmp_path / "same.json"
    same.write_text(json.dumps({**content, "post_processor": None, "decoder": None}, indent=1))
    assert fingerprint(config.model_copy(update={"file": str(same)})) == before


def test_the_lowercase_option_must_agree_with_the_file(tmp_path: Path) -> None:
    config_of("bert", tmp_path, lowercase=True).load()
    with pytest.raises(UserError, match=r"lowercases text, but tokenizer\.lowercase is false"):
        config_of("bert", tmp_path, lowercase=False).load()
    with pytest.raises(UserError, match=r"does not lowercase text, but .*lowercase is true"):
        config_of("llama3", tmp_path, lowercase=True).load()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("version https://git-lfs", "Git LFS"),
        ('{"the": 0}', r"A vocab\.json belongs to tokenizer\.type: bpe"),
        ('{"model": {"type": "Other", "vocab": {"a": 0}}}', "cannot read the file"),
    ],
)
def test_a_file_of_another_kind_is_rejected(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        HuggingFace(type="huggingface", file=str(path)).load()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.json: cannot be read as a tokenizer"):
        HuggingFace(type="huggingface", file=str(tmp_path / "gone.json")).load()


def test_vocabularies_are_compared_by_path(tmp_path: Path) -> None:
    first = config_of("qwen2", tmp_path)
    found = find_tokenizer(first.file)
    assert isinstance(found, HuggingFace)
    (tmp_path / "b").mkdir()
    second = find_tokenizer(config_of("llama3", tmp_path / "b").file).load()
    result = compare(found.load(), second)
    assert result["sizes"] == [found.load().vocabulary.size, second.vocabulary.size]
    assert result["shared"] > 256
    assert result["examples"][0]


def test_the_block_is_one_of_the_union(tmp_path: Path) -> None:
    adapter: TypeAdapter[TokenizerConfig] = TypeAdapter(AnyTokenizer)
    block = config_of("qwen2", tmp_path).model_dump(mode="json")
    assert adapter.validate_python(block).load().vocabulary.size > 256
