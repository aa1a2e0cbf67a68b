from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ptm.errors import UserError
from ptm.text.tokenizers import Tokenizer
from ptm.text.tokenizers.char import Char
from ptm.text.tokenizers.wordpiece import WordPiece

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Bundled, RealText


def wordpiece(vocab: Path, **options: object) -> Tokenizer:
    return WordPiece.model_validate({"type": "wordpiece", "vocab": str(vocab), **options}).load()


def char(vocab: Path, **options: object) -> Tokenizer:
    return Char.model_validate({"type": "char", "vocab": str(vocab), **options}).load()


def tokens_of(tokenizer: Tokenizer, text: str) -> list[str]:
    (ids,) = tokenizer.encode([text])
    return [tokenizer.vocabulary.tokens[index] for index in ids]


# WordPiece


@pytest.mark.parametrize("lowercase", [True, False])
def test_wordpiece_ids_of_real_text_equal_those_of_transformers(
    real_text: RealText, lowercase: bool
) -> None:
    from transformers import BertTokenizer

    theirs = BertTokenizer(str(real_text.vocab), do_lower_case=lowercase)
    ours = wordpiece(real_text.vocab, lowercase=lowercase)
    texts = list(real_text.documents[:600])
    assert ours.encode(texts) == theirs(texts, add_special_tokens=False)["input_ids"]


ANY_TEXT = st.text(
    st.one_of(
        st.sampled_from(
            "abcXYZ éÉñ中文龍、。!?-_ \t\u3000\u00a0İßﬁ０Ａ한글カが😀\u200b\u0301\x07\ufffd"
        ),
        st.characters(exclude_categories=["Cs"], exclude_characters="[]"),
    ),
    max_size=30,
)


@pytest.mark.parametrize("lowercase", [True, False])
def test_wordpiece_ids_of_any_text_equal_those_of_transformers(
    bundled: Bundled, lowercase: bool
) -> None:
    from transformers import BertTokenizer

    theirs = BertTokenizer(str(bundled.vocab), do_lower_case=lowercase)
    ours = wordpiece(bundled.vocab, lowercase=lowercase)

    @settings(max_examples=100)
    @given(text=ANY_TEXT)
    def same(text: str) -> None:
        assert ours.encode([text])[0] == theirs.encode(text, add_special_tokens=False)

    same()


def test_a_word_that_pieces_cannot_compose_is_one_unknown_token(tiny_vocab: Path) -> None:
    assert tokens_of(wordpiece(tiny_vocab), "ab aéàb жж") == [
        "a",
        "##b",
        "a",
        "##e",
        "##a",
        "##b",
        "[UNK]",
    ]


def test_batches_and_single_texts_give_the_same_ids(real_text: RealText) -> None:
    texts = list(real_text.documents[:20])
    tokenizer = real_text.tokenizer
    assert tokenizer.encode(texts) == [tokenizer.encode([text])[0] for text in texts]


def test_encoding_with_offsets_gives_the_same_ids(real_text: RealText) -> None:
    texts = list(real_text.documents[:50])
    found = real_text.tokenizer.encode_with_offsets(texts)
    assert [ids for ids, _ in found] == real_text.tokenizer.encode(texts)


# Characters


def test_every_character_but_white_space_is_a_token(tiny_vocab: Path) -> None:
    assert tokens_of(char(tiny_vocab), " 我们 ab\t在\u3000") == ["我", "们", "a", "b", "在"]


def test_characters_of_real_text_are_looked_up_one_by_one(real_text: RealText) -> None:
    tokenizer = char(real_text.vocab, lowercase=False)
    ids, unknown = tokenizer.vocabulary.ids, tokenizer.vocabulary.special_id("unk")
    for text, found in zip(
        real_text.documents[:100], tokenizer.encode(real_text.documents[:100]), strict=True
    ):
        characters = [character for character in text if character.isprintable()]
        expected = [ids.get(letter, unknown) for letter in characters if not letter.isspace()]
        assert found == expected


def test_characters_are_lowercased_only_with_lowercase(tiny_vocab: Path) -> None:
    assert tokens_of(char(tiny_vocab, lowercase=True), "Ab") == ["a", "b"]
    assert tokens_of(char(tiny_vocab, lowercase=False), "Ab") == ["[UNK]", "b"]


# Special tokens


@pytest.mark.parametrize("load", [wordpiece, char])
@pytest.mark.parametrize("lowercase", [True, False])
def test_special_tokens_written_in_the_corpus_are_plain_text(
    bundled: Bundled, load: Callable[..., Tokenizer], lowercase: bool
) -> None:
    tokenizer = load(bundled.vocab, lowercase=lowercase)
    special = tokenizer.vocabulary
    for role, token in special.specials.items():
        (ids,) = tokenizer.encode([f"a {token} b{token}"])
        written = [index for index in ids if special.is_special[index]]
        # Letters that the vocabulary lacks are unknown, in any text.
        assert set(written) <= {special.special_id("unk")}, role


def test_masks_in_a_text_to_fill_are_mask_tokens(tiny_vocab: Path) -> None:
    tokenizer = wordpiece(tiny_vocab)
    tokens = [
        tokenizer.vocabulary.tokens[i] for i in tokenizer.encode_with_masks("a [MASK] b[MASK]")
    ]
    assert tokens == ["[CLS]", "a", "[MASK]", "b", "[MASK]", "[SEP]"]


def renamed(vocab: Path, tmp_path: Path) -> Path:
    """Write the vocabulary with XLM-R's names for the special tokens."""
    names = {
        "[PAD]": "<pad>",
        "[UNK]": "<unk>",
        "[CLS]": "<s>",
        "[SEP]": "</s>",
        "[MASK]": "<mask>",
    }
    tokens = [names.get(token, token) for token in vocab.read_text(encoding="utf-8").split("\n")]
    path = tmp_path / "renamed.txt"
    path.write_text("\n".join(tokens), encoding="utf-8")
    return path


def test_special_tokens_may_have_other_names(tiny_vocab: Path, tmp_path: Path) -> None:
    roles = {"pad": "<pad>", "unk": "<unk>", "cls": "<s>", "sep": "</s>", "mask": "<mask>"}
    vocabulary = wordpiece(renamed(tiny_vocab, tmp_path), special_tokens=roles).vocabulary
    assert [vocabulary.special_id(role) for role in roles] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "mask",
    ["<mask>", {"content": "<mask>", "lstrip": True, "special": True}],
    ids=["as text", "as an added token"],
)
def test_special_tokens_may_be_read_from_a_file(
    tiny_vocab: Path, tmp_path: Path, mask: str | dict[str, object]
) -> None:
    names = {"pad_token": "<pad>", "unk_token": "<unk>", "cls_token": "<s>", "sep_token": "</s>"}
    path = tmp_path / "special_tokens_map.json"
    path.write_text(json.dumps({**names, "mask_token": mask, "additional_special_tokens": []}))
    vocabulary = wordpiece(renamed(tiny_vocab, tmp_path), special_tokens=str(path)).vocabulary
    assert vocabulary.special_id("mask") == 4


@pytest.mark.parametrize("text", ["{", "[]", '"<mask>"', None])
def test_a_file_that_is_not_a_map_of_special_tokens_is_an_error_that_names_it(
    tiny_vocab: Path, tmp_path: Path, text: str | None
) -> None:
    path = tmp_path / "map.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=r"map\.json"):
        wordpiece(tiny_vocab, special_tokens=str(path))


def test_an_unknown_role_is_an_error_that_suggests_the_nearest(tiny_vocab: Path) -> None:
    with pytest.raises(ValidationError, match=r'"maks" is not a role.*Did you mean "mask"'):
        wordpiece(tiny_vocab, special_tokens={"maks": "[MASK]"})


def test_a_vocabulary_without_the_unknown_token_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text("[PAD]\n[MASK]\na\n")
    with pytest.raises(UserError, match=r"vocab\.txt.*has no \[UNK\]"):
        wordpiece(path)


def test_a_size_that_differs_from_the_recipe_is_an_error_with_both_sizes(tiny_vocab: Path) -> None:
    size = wordpiece(tiny_vocab).vocabulary.size
    with pytest.raises(UserError, match=rf"has {size} tokens.*tokenizer\.size is 7"):
        wordpiece(tiny_vocab, size=7)


# Fingerprints


def test_the_fingerprint_does_not_depend_on_the_path_of_the_file(
    tiny_vocab: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.txt"
    copy.write_bytes(tiny_vocab.read_bytes())
    assert wordpiece(copy).fingerprint == wordpiece(tiny_vocab).fingerprint


def test_the_fingerprint_changes_with_anything_that_changes_ids(
    tiny_vocab: Path, tmp_path: Path
) -> None:
    longer = tmp_path / "longer.txt"
    longer.write_text(tiny_vocab.read_text(encoding="utf-8") + "new\n", encoding="utf-8")
    prints = [
        wordpiece(tiny_vocab).fingerprint,
        wordpiece(tiny_vocab, lowercase=False).fingerprint,
        wordpiece(tiny_vocab, special_tokens={"sep": "[PAD]"}).fingerprint,
        wordpiece(longer).fingerprint,
        char(tiny_vocab).fingerprint,
    ]
    assert len(set(prints)) == len(prints)
