"""AutoTokenizer on an export gives the ids that the model was trained with."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForMaskedLM, AutoTokenizer, BertTokenizer

from ptm.errors import UserError
from ptm.interop.hf.io.export import export_to_huggingface
from ptm.interop.import_model import import_from_huggingface
from ptm.interop.sources.open import open_source
from ptm.text.tokenizers import Tokenizer
from tests.support.bert_pairs import (
    TINY,
    blocks_of,
    plan_of,
    random_weights,
    recipe_of,
    write_model,
)

ODD_TEXTS = [
    "The Eiffel Tower is 330 metres high; it cost 7,799,401.31 francs in 1889!",
    "在2024年，GPT-4o用了128K的上下文。价格：¥1,299.00（约$180）",
    "naïve café — Ångström, Übergröße, İstanbul, ﬁancée, ½ ①②③",
    "表情😀👍🏽👨‍👩‍👧‍👦和符号★☆♥→∑√∞",
    "繁體字與日本語のひらがなカタカナ、한국어、Русский, Ελληνικά, עברית, العربية",
    "tabs\tand\u00a0no-break\u3000ideographic  spaces\u200b\ufeff and\x00control\x07characters",
    "e\u0301 combining, ｆｕｌｌｗｉｄｔｈ１２３，。！",
    "http://book.douban.com/subject/1234567/?a=b&c=d#e  user_name@mail-host.org",
    "aaaaaaaaaa" * 12,
    "don't stop-gap o'clock 'quoted' \"double\" “弯引号”‘单’…—·",
    "𠮷野家 and 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 beyond the first plane",
    "",
    "   ",
    "word ##piece ##ing [unused3] [MASKED] [ MASK ]",
]


def exported(tmp_path: Path, vocab: Path, *, kind: str, lowercase: bool) -> tuple[Tokenizer, Any]:
    """Return our tokenizer and the one that transformers loads from an export."""
    blocks = blocks_of(vocab, TINY, tokenizer=kind, lowercase=lowercase)
    recipe = recipe_of(blocks)
    source = write_model(tmp_path / "model", blocks, random_weights(plan_of(recipe)))
    export_to_huggingface(source, tmp_path / "export", weights_format="safetensors")
    return recipe.tokenizer.load(), AutoTokenizer.from_pretrained(tmp_path / "export")


KINDS = [("wordpiece", True), ("wordpiece", False), ("char", True), ("char", False)]
each_kind = pytest.mark.parametrize(
    ("kind", "lowercase"), KINDS, ids=["wordpiece-lower", "wordpiece", "char-lower", "char"]
)


@each_kind
def test_real_and_odd_texts_have_the_same_ids(
    tmp_path: Path, bundled_texts: list[str], bundled_vocab: Path, kind: str, lowercase: bool
) -> None:
    ours, theirs = exported(tmp_path, bundled_vocab, kind=kind, lowercase=lowercase)
    texts = [*bundled_texts, *ODD_TEXTS]
    expected = theirs(texts, add_special_tokens=False)["input_ids"]
    for text, mine, other in zip(texts, ours.encode(texts), expected, strict=True):
        assert mine == other, text


@each_kind
def test_reviews_have_the_same_ids_with_the_chinese_vocabulary(
    tmp_path: Path, review_texts: list[str], chinese_vocab: Path, kind: str, lowercase: bool
) -> None:
    ours, theirs = exported(tmp_path, chinese_vocab, kind=kind, lowercase=lowercase)
    texts = [*review_texts, *ODD_TEXTS]
    expected = theirs(texts, add_special_tokens=False)["input_ids"]
    for text, mine, other in zip(texts, ours.encode(texts), expected, strict=True):
        assert mine == other, text


@each_kind
def test_the_same_special_tokens_are_added(
    tmp_path: Path, bundled_texts: list[str], bundled_vocab: Path, kind: str, lowercase: bool
) -> None:
    ours, theirs = exported(tmp_path, bundled_vocab, kind=kind, lowercase=lowercase)
    for text in bundled_texts:
        found = theirs(text)
        assert found["input_ids"] == ours.encode_with_masks(text)
        assert set(found["attention_mask"]) == {1}


@each_kind
def test_a_mask_in_the_text_becomes_the_mask_token(
    tmp_path: Path, bundled_vocab: Path, kind: str, lowercase: bool
) -> None:
    ours, theirs = exported(tmp_path, bundled_vocab, kind=kind, lowercase=lowercase)
    for text in (
        "日本的首都是[MASK]京。",
        "The capital of France is [MASK].",
        "[MASK] [MASK]",
        "a[MASK]b[MASK][MASK]",
        " [MASK] ",
    ):
        assert theirs(text)["input_ids"] == ours.encode_with_masks(text), text


@each_kind
def test_special_tokens_have_the_same_roles(
    tmp_path: Path, bundled_vocab: Path, kind: str, lowercase: bool
) -> None:
    ours, theirs = exported(tmp_path, bundled_vocab, kind=kind, lowercase=lowercase)
    for role in ("pad", "unk", "cls", "sep", "mask"):
        assert getattr(theirs, f"{role}_token_id") == ours.vocabulary.special_id(role), role
    assert len(theirs) == ours.vocabulary.size


@each_kind
def test_a_pair_of_texts_gets_two_segments(
    tmp_path: Path, bundled_vocab: Path, kind: str, lowercase: bool
) -> None:
    _, theirs = exported(tmp_path, bundled_vocab, kind=kind, lowercase=lowercase)
    found = theirs("红 color", "blue", return_token_type_ids=True)
    second = found["input_ids"].index(theirs.sep_token_id) + 1
    segments = found["token_type_ids"]
    assert segments == [0] * second + [1] * (len(segments) - second)


def test_text_longer_than_the_positions_can_be_truncated(
    tmp_path: Path, bundled_vocab: Path
) -> None:
    _, theirs = exported(tmp_path, bundled_vocab, kind="wordpiece", lowercase=True)
    assert theirs.model_max_length == 128
    assert len(theirs("红" * 500, truncation=True)["input_ids"]) == 128


def test_special_tokens_with_other_names_keep_their_roles(
    tmp_path: Path, bundled_texts: list[str]
) -> None:
    characters = sorted({c for c in "".join(bundled_texts).lower() if c.strip()})
    names = {"pad": "<pad>", "unk": "<unk>", "cls": "<s>", "sep": "</s>", "mask": "<mask>"}
    vocab = tmp_path / "vocab.txt"
    vocab.write_text("\n".join((*names.values(), *characters)) + "\n", encoding="utf-8")
    blocks = blocks_of(vocab, TINY)
    blocks["tokenizer"]["special_tokens"] = names
    recipe = recipe_of(blocks)
    source = write_model(tmp_path / "model", blocks, random_weights(plan_of(recipe)))
    export_to_huggingface(source, tmp_path / "export", weights_format="safetensors")
    theirs = AutoTokenizer.from_pretrained(tmp_path / "export")
    ours = recipe.tokenizer.load()
    for role, token in names.items():
        assert getattr(theirs, f"{role}_token") == token
    for text in (*bundled_texts, "a <mask> b"):
        assert theirs(text)["input_ids"] == ours.encode_with_masks(text)
    back = open_source(str(tmp_path / "export")).recipe().tokenizer.load()
    assert back.vocabulary.specials == names


@each_kind
def test_an_export_read_back_has_the_same_tokenizer(
    tmp_path: Path, bundled_vocab: Path, kind: str, lowercase: bool
) -> None:
    ours, _ = exported(tmp_path, bundled_vocab, kind=kind, lowercase=lowercase)
    back = open_source(str(tmp_path / "export")).recipe().tokenizer.load()
    assert back.fingerprint == ours.fingerprint
    import_from_huggingface(str(tmp_path / "export"), tmp_path / "import")
    again = open_source(str(tmp_path / "import")).recipe().tokenizer.load()
    assert again.fingerprint == ours.fingerprint


def test_a_folder_saved_by_transformers_can_be_imported(
    tmp_path: Path, bundled_vocab: Path, bundled_texts: list[str]
) -> None:
    """A model and its tokenizer after save_pretrained, as after fine-tuning."""
    ours, theirs = exported(tmp_path, bundled_vocab, kind="wordpiece", lowercase=False)
    saved = tmp_path / "saved"
    AutoModelForMaskedLM.from_pretrained(tmp_path / "export").save_pretrained(saved)
    theirs.save_pretrained(saved)
    assert (saved / "tokenizer.json").exists()
    import_from_huggingface(str(saved), tmp_path / "import")
    again = open_source(str(tmp_path / "import")).recipe().tokenizer.load()
    assert again.encode(bundled_texts) == ours.encode(bundled_texts)


@pytest.mark.parametrize("setting", ["strip_accents", "tokenize_chinese_chars"])
def test_a_tokenizer_is_imported_with_equal_ids_or_rejected(
    tmp_path: Path, bundled_vocab: Path, setting: str
) -> None:
    """For example, lowercase German models keep their umlauts."""
    exported(tmp_path, bundled_vocab, kind="wordpiece", lowercase=True)
    folder = tmp_path / "export"
    (folder / "recipe.yaml").unlink()
    theirs = BertTokenizer(str(bundled_vocab), **{setting: False})
    theirs.save_pretrained(folder)
    texts = ["Über die Brücke", "天气预报"]
    expected = theirs(texts, add_special_tokens=False)["input_ids"]
    with contextlib.suppress(UserError):
        import_from_huggingface(str(folder), tmp_path / "import")
    if not (tmp_path / "import").exists():
        return  # A UserError is right too.
    ours = open_source(str(tmp_path / "import")).recipe().tokenizer.load()
    assert ours.encode(texts) == expected


@pytest.mark.parametrize("lowercase", [True, False])
def test_an_import_keeps_the_lowercase_setting_of_its_tokenizer(
    tmp_path: Path, bundled_vocab: Path, lowercase: bool
) -> None:
    ours, _ = exported(tmp_path, bundled_vocab, kind="wordpiece", lowercase=True)
    folder = tmp_path / "export"
    (folder / "recipe.yaml").unlink()
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["do_lower_case"] = lowercase
    # Files written by older versions hold special tokens as objects.
    settings["mask_token"] = {"content": "[MASK]", "lstrip": False, "special": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    import_from_huggingface(str(folder), tmp_path / "import")
    again = open_source(str(tmp_path / "import")).recipe().tokenizer.load()
    assert again.config.lowercase is lowercase
    assert (again.encode(["Ab"]) == ours.encode(["ab"])) is lowercase
