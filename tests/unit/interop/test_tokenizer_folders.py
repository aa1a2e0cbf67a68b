"""Tokenizers of every type in Hugging Face folders: AutoTokenizer's ids, and reading back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from pydantic import TypeAdapter
from transformers import AutoTokenizer, RobertaTokenizer, XLMRobertaTokenizer

from ptm.errors import UserError
from ptm.interop.hf.io.tokenizer import write_tokenizer
from ptm.interop.hf.io.tokenizer_folder import HuggingFaceTokenizer
from ptm.text.tokenizers import AnyTokenizer, Tokenizer, TokenizerConfig
from tests.support.vocabularies import bundled_config
from tests.unit.interop.test_exported_tokenizer import ODD_TEXTS

FAMILIES: dict[str, dict[str, Any]] = {
    "bert": {"model_type": "bert", "type_vocab_size": 2},
    "roberta": {"model_type": "roberta", "type_vocab_size": 1},
    "xlm-roberta": {"model_type": "xlm-roberta", "type_vocab_size": 1},
    "albert": {"model_type": "albert", "type_vocab_size": 2},
    "distilbert": {"model_type": "distilbert"},
}
PAIRS = [
    ("wordpiece", "bert"),
    ("wordpiece", "albert"),
    ("wordpiece", "distilbert"),
    ("space", "bert"),
    ("bpe", "roberta"),
    ("bpe", "distilbert"),
    ("unigram", "xlm-roberta"),
    ("unigram", "albert"),
]
each_pair = pytest.mark.parametrize(("kind", "family"), PAIRS)


def exported(folder: Path, kind: str, family: str, **options: object) -> tuple[Tokenizer, Any]:
    """Return our tokenizer and the one that transformers loads from a folder of `family`."""
    tokenizer = bundled_config(kind, folder / "files", **options).load()
    out = folder / "export"
    out.mkdir()
    config = {**FAMILIES[family], "vocab_size": tokenizer.vocabulary.size}
    (out / "config.json").write_text(json.dumps(config))
    write_tokenizer(out, tokenizer, positions=64, config=config)
    return tokenizer, AutoTokenizer.from_pretrained(out)


def read_back(folder: Path, family: str = "bert") -> Tokenizer:
    adapter: TypeAdapter[TokenizerConfig] = TypeAdapter(AnyTokenizer)
    block = HuggingFaceTokenizer(folder, FAMILIES[family]).block
    return adapter.validate_python(block).load()


@each_pair
def test_autotokenizer_gives_the_same_ids(
    tmp_path: Path, bundled_texts: list[str], kind: str, family: str
) -> None:
    ours, theirs = exported(tmp_path, kind, family)
    texts = [*bundled_texts, *ODD_TEXTS]
    if kind == "space":
        texts = [" ".join(text) for text in bundled_texts] + ["a 天气  b\tc", "", " "]
    if kind == "unigram":
        texts += ["ﬁ\u0301x", "a\u0301\u0302b ０\u0301", "의\u200d 가", "\u0301the"]
    expected = theirs(texts, add_special_tokens=False)["input_ids"]
    for text, mine, other in zip(texts, ours.encode(texts), expected, strict=True):
        assert mine == other, text


@each_pair
def test_special_tokens_are_added_to_single_texts_and_pairs(
    tmp_path: Path, kind: str, family: str
) -> None:
    ours, theirs = exported(tmp_path, kind, family)
    assert theirs("the 我")["input_ids"] == ours.encode_with_masks("the 我")
    found = theirs("the 我", "a")
    ids, between = found["input_ids"], 2 if "roberta" in family else 1
    first, second = ours.encode_with_masks("the 我"), ours.encode_with_masks("a")
    sep = ours.vocabulary.special_id("sep")
    assert ids == [*first, *([sep] * (between - 1)), *second[1:]]
    segments = found.get("token_type_ids")
    if kind != "wordpiece" and FAMILIES[family].get("type_vocab_size") != 2:
        assert set(theirs("the", "a", return_token_type_ids=True)["token_type_ids"]) == {0}
    if FAMILIES[family].get("type_vocab_size") == 2:
        assert segments == [0] * len(first) + [1] * (len(ids) - len(first))
    else:
        assert segments is None
    assert len(theirs) == ours.vocabulary.size
    for role in ("pad", "unk", "cls", "sep", "mask"):
        assert getattr(theirs, f"{role}_token_id") == ours.vocabulary.special_id(role), role
    assert theirs.model_max_length == 64


@each_pair
def test_a_mask_in_the_text_becomes_the_mask_token(tmp_path: Path, kind: str, family: str) -> None:
    ours, theirs = exported(tmp_path, kind, family)
    mask = ours.vocabulary.specials["mask"]
    for text in ("the {} is.", "日本的首都是{}京。", "{} {}", "a{}b{}{}", " {} ", "the {}"):
        text = text.replace("{}", mask)
        if kind == "space":
            text = text.replace(mask, f" {mask} ")
        assert theirs(text)["input_ids"] == ours.encode_with_masks(text), text


@each_pair
def test_an_export_read_back_is_the_same_tokenizer(tmp_path: Path, kind: str, family: str) -> None:
    ours, _ = exported(tmp_path, kind, family)
    assert read_back(tmp_path / "export", family).fingerprint == ours.fingerprint


@each_pair
def test_a_tokenizer_json_alone_is_enough(
    tmp_path: Path, bundled_texts: list[str], kind: str, family: str
) -> None:
    """transformers saves a tokenizer without its vocabulary files."""
    ours, theirs = exported(tmp_path, kind, family)
    saved = tmp_path / "saved"
    theirs.save_pretrained(saved)
    for path in saved.iterdir():
        if path.name not in ("tokenizer.json", "tokenizer_config.json"):
            path.unlink()
    again = read_back(saved, family)
    assert again.encode([*bundled_texts, *ODD_TEXTS]) == ours.encode([*bundled_texts, *ODD_TEXTS])
    assert again.vocabulary.tokens == ours.vocabulary.tokens


def test_prefix_space_is_exported_and_read_back(tmp_path: Path) -> None:
    ours, theirs = exported(tmp_path, "bpe", "roberta", prefix_space=True)
    for text in ("the 我", "", " the"):
        assert theirs(text, add_special_tokens=False)["input_ids"] == ours.encode([text])[0]
    assert read_back(tmp_path / "export").fingerprint == ours.fingerprint


# Folders that transformers' own classes write


def test_a_roberta_folder_saved_by_transformers_is_read(
    tmp_path: Path, bundled_texts: list[str]
) -> None:
    ours = bundled_config("bpe", tmp_path / "files").load()
    files = tmp_path / "files"
    theirs = RobertaTokenizer(str(files / "vocab.json"), str(files / "merges.txt"))
    theirs.save_pretrained(tmp_path / "saved")
    again = read_back(tmp_path / "saved", "roberta")
    texts = [*bundled_texts, *ODD_TEXTS]
    assert again.encode(texts) == theirs(texts, add_special_tokens=False)["input_ids"]
    assert again.vocabulary.tokens == ours.vocabulary.tokens


@pytest.mark.parametrize("with_model", [True, False])
def test_an_xlm_roberta_folder_saved_by_transformers_is_read(
    tmp_path: Path, bundled_texts: list[str], with_model: bool
) -> None:
    ours = bundled_config("unigram", tmp_path / "files").load()
    model = tmp_path / "files" / "sentencepiece.model"
    there = tmp_path / "spm"
    there.mkdir()
    shutil.copy(model, there / "sentencepiece.bpe.model")
    (there / "config.json").write_text(json.dumps(FAMILIES["xlm-roberta"]))
    theirs = XLMRobertaTokenizer.from_pretrained(there)
    saved = tmp_path / "saved"
    theirs.save_pretrained(saved)
    if with_model:
        shutil.copy(model, saved / "sentencepiece.bpe.model")
    again = read_back(saved, "xlm-roberta")
    assert again.vocabulary.tokens == ours.vocabulary.tokens
    assert again.encode(bundled_texts) == ours.encode(bundled_texts)


def changed(folder: Path, **keys: Any) -> None:
    path = folder / "tokenizer.json"
    pipeline = json.loads(path.read_text())
    path.write_text(json.dumps({**pipeline, **keys}))


@pytest.mark.parametrize(
    "change", [{"normalizer": {"type": "NFKC"}}, {"pre_tokenizer": {"type": "Whitespace"}}]
)
def test_a_changed_tokenizer_json_is_run_as_it_is(tmp_path: Path, change: dict[str, Any]) -> None:
    ours, _ = exported(tmp_path, "bpe", "roberta")
    folder = tmp_path / "export"
    changed(folder, **change)
    theirs = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    again = read_back(folder)
    assert again.config.type == "huggingface"
    texts = ["ﬁve ２０ a-b", "the colour of the sky"]
    expected = [found.ids for found in theirs.encode_batch(texts, add_special_tokens=False)]
    assert again.encode(texts) == expected != ours.encode(texts)


def test_a_folder_without_a_tokenizer_is_rejected_with_the_supported_files(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"Supported: tokenizer\.json; vocab\.txt; vocab\.json with"
    ):
        read_back(tmp_path)
