"""Tokenizers of whole words and of byte-level BPE."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ptm.errors import UserError
from ptm.text.tokenizers import Tokenizer
from ptm.text.tokenizers.bpe import Bpe, byte_letters
from ptm.text.tokenizers.space import Space
from ptm.text.tokenizers.wordpiece import WordPiece
from tests.support.vocabularies import bundled_config

ANY_TEXT = st.text(
    st.one_of(
        st.sampled_from(
            "abcXYZ 's't éÉñ中文龍、。!?-_ \t\n\u3000\u00a0İßﬁ０Ａ한カが😀\u200b\u0301\x07"
        ),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=30,
)
ODD = [
    "",
    " ",
    "\t\n",
    "a  b",
    "  a ",
    "表情😀👍🏽",
    "ｆｕｌｌ１２",
    "it's 'quoted'",
    "\x00\x07\ufffd",
    "naïve",
]

# Whole words


def space(tmp_path: Path, *words: str, **options: object) -> Tokenizer:
    path = tmp_path / "words.txt"
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    path.write_text("\n".join(tokens) + "\n", encoding="utf-8")
    return Space.model_validate({"type": "space", "vocab": str(path), **options}).load()


def tokens_of(tokenizer: Tokenizer, text: str) -> list[str]:
    return [tokenizer.vocabulary.tokens[index] for index in tokenizer.encode([text])[0]]


def test_tokens_are_separated_by_white_space(tmp_path: Path) -> None:
    tokenizer = space(tmp_path, "我们", "看书", "。")
    assert tokens_of(tokenizer, " 我们\t看书\u3000。 读书") == ["我们", "看书", "。", "[UNK]"]


def test_words_are_lowercased_only_with_lowercase(tmp_path: Path) -> None:
    assert tokens_of(space(tmp_path, "gpt", lowercase=True), "GPT") == ["gpt"]
    assert tokens_of(space(tmp_path, "GPT", lowercase=False), "GPT gpt") == ["GPT", "[UNK]"]


def test_a_word_that_equals_a_special_token_is_unknown(tmp_path: Path) -> None:
    tokenizer = space(tmp_path, "a", lowercase=False)
    assert tokens_of(tokenizer, "[MASK] a [CLS]") == ["[UNK]", "a", "[UNK]"]


def test_masks_in_a_text_to_fill_are_mask_tokens(tmp_path: Path) -> None:
    tokenizer = space(tmp_path, "a")
    assert tokenizer.encode_with_masks("a [MASK] a") == [2, 5, 4, 5, 3]


# Byte-level BPE


@pytest.fixture(scope="module")
def bpe(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return bundled_config("bpe", tmp_path_factory.mktemp("bpe")).load()


def plainly(tokenizer: Tokenizer, text: str) -> list[int]:
    """GPT-2's BPE as in its paper and code: apply the merge of the lowest rank, repeatedly."""
    config = tokenizer.config
    assert isinstance(config, Bpe)
    lines = Path(config.merges).read_text(encoding="utf-8").splitlines()[1:]
    ranks = {tuple(line.split(" ")): rank for rank, line in enumerate(lines)}
    letters = {byte: letter for letter, byte in byte_letters().items()}
    pattern = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    ids = []
    for word in regex.findall(pattern, text):
        parts = [letters[byte] for byte in word.encode("utf-8")]
        while len(parts) > 1:
            pairs = list(pairwise(parts))
            best = min(pairs, key=lambda pair: ranks.get(pair, len(ranks)))
            if best not in ranks:
                break
            merged, at = [], 0
            while at < len(parts):
                joined = tuple(parts[at : at + 2]) == best
                merged.append("".join(parts[at : at + 2]) if joined else parts[at])
                at += 2 if joined else 1
            parts = merged
        ids += [tokenizer.vocabulary.ids[part] for part in parts]
    return ids


def test_bpe_ids_equal_those_of_the_plain_algorithm(
    bpe: Tokenizer, bundled_lines: list[str]
) -> None:
    for text in [*bundled_lines, *ODD]:
        assert bpe.encode([text])[0] == plainly(bpe, text), text


def test_bpe_ids_of_any_text_equal_those_of_the_plain_algorithm(bpe: Tokenizer) -> None:
    @settings(max_examples=150)
    @given(text=ANY_TEXT)
    def same(text: str) -> None:
        assert bpe.encode([text])[0] == plainly(bpe, text)

    same()


def test_ids_with_the_files_of_gpt2_equal_those_of_the_plain_algorithm(shared_data: Path) -> None:
    """The vocabulary file has one token per line, as in UER-py."""
    folder = shared_data / "vocab"
    config = Bpe(
        type="bpe",
        vocab=str(folder / "huggingface_gpt2_vocab.txt"),
        merges=str(folder / "huggingface_gpt2_merges.txt"),
        size=50265,
    )
    tokenizer = config.load()
    lines = (shared_data / "news-commentary-v13-en-zh_sampled.txt").read_text(encoding="utf-8")
    for text in [*lines.splitlines()[:100], *ODD]:
        assert tokenizer.encode([text])[0] == plainly(tokenizer, text), text
    assert tokenizer.vocabulary.special_id("mask") == 50264


def test_byte_tokens_decode_to_the_text_and_are_never_unknown(bpe: Tokenizer) -> None:
    letters = byte_letters()
    unknown = bpe.vocabulary.special_id("unk")
    for text in ODD:
        (ids,) = bpe.encode([text])
        assert unknown not in ids
        written = "".join(bpe.vocabulary.tokens[index] for index in ids)
        assert bytes(letters[c] for c in written).decode("utf-8") == text


def test_special_tokens_in_a_text_are_plain_text(bpe: Tokenizer) -> None:
    (ids,) = bpe.encode(["a <mask> </s><s>"])
    assert not bpe.vocabulary.is_special[ids].any()


def test_the_space_before_a_mask_is_part_of_the_mask(bpe: Tokenizer) -> None:
    marked = bpe.encode_with_masks("the <mask> is")
    assert marked == [0, *bpe.encode(["the"])[0], 4, *bpe.encode([" is"])[0], 2]


def test_a_text_starts_with_a_space_with_prefix_space(tmp_path: Path, bpe: Tokenizer) -> None:
    prefixed = bundled_config("bpe", tmp_path, prefix_space=True).load()
    assert prefixed.encode(["the"]) == bpe.encode([" the"]) != bpe.encode(["the"])


def test_the_text_of_a_token_is_its_decoded_bytes(bpe: Tokenizer) -> None:
    for text in ("the", "中", "é"):
        letters = {byte: letter for letter, byte in byte_letters().items()}
        token = "Ġ" + "".join(letters[byte] for byte in text.encode())
        assert bpe.config.text_of(token) == text


# Invalid files


def written(tmp_path: Path, vocab: str, merges: str = "#version: 0.2\na b\n") -> Bpe:
    (tmp_path / "vocab.json").write_text(vocab, encoding="utf-8")
    (tmp_path / "merges.txt").write_text(merges, encoding="utf-8")
    return Bpe(type="bpe", vocab=str(tmp_path / "vocab.json"), merges=str(tmp_path / "merges.txt"))


VOCAB = json.dumps({"<unk>": 0, "a": 1, "b": 2, "ab": 3})


def test_a_small_bpe_vocabulary_loads(tmp_path: Path) -> None:
    assert written(tmp_path, VOCAB).load().encode(["ab"]) == [[3]]


@pytest.mark.parametrize(
    ("vocab", "merges", "message"),
    [
        (VOCAB, "#version: 0.2\na b c\n", r'merges\.txt:2: "a b c" is not a merge'),
        (VOCAB, "a b\na\n", r'merges\.txt:2: "a" is not a merge'),
        (VOCAB, "a b\nb a\n", r'merges\.txt:2: .* token "ba", .*The two files do not belong'),
        (VOCAB, "a c\n", r'merges\.txt:1: the merge of "a" and "c" needs the token "c"'),
        ("{", "", r"vocab\.json:1: the file is not valid JSON"),
        ("[1]", "", r"vocab\.json: the file is not a map of tokens to ids such as"),
        ("{}", "", r"vocab\.json: the vocabulary is empty"),
        ('{"a": 0, "b": 2}', "", r"no token has id 1\. The ids of 2 tokens"),
        ('{"a": 0, "b": 0}', "", r"'a' and 'b' have the same id, 0"),
        ('{"a": 0, "a": 1}', "", r"the token 'a' occurs twice"),
        ('{"a": 0, "b": 1}', "", r"has no <unk>"),
    ],
)
def test_invalid_files_are_errors_with_file_and_line(
    tmp_path: Path, vocab: str, merges: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        written(tmp_path, vocab, merges).load()


def test_missing_merges_are_an_error_that_names_the_file(tmp_path: Path) -> None:
    config = written(tmp_path, VOCAB)
    Path(config.merges).unlink()
    with pytest.raises(UserError, match=r"merges\.txt: cannot be read"):
        config.load()


def test_two_files_with_one_name_are_an_error() -> None:
    with pytest.raises(
        ValidationError, match=r'two of the tokenizer\'s files have the name "x\.txt"'
    ):
        Bpe(type="bpe", vocab="a/x.txt", merges="b/x.txt")


def test_a_vocabulary_with_capitals_is_an_error_with_lowercase(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\nThe\nGPT\n", encoding="utf-8")
    with pytest.raises(
        UserError, match=r'tokens with capitals: 2 \(such as "The"\).*lowercase: false'
    ):
        WordPiece(type="wordpiece", vocab=str(path), lowercase=True).load()
    assert WordPiece(type="wordpiece", vocab=str(path), lowercase=False).load().vocabulary.size == 8


# Fingerprints


def test_the_fingerprint_of_bpe_changes_with_the_merges_and_prefix_space(
    tmp_path: Path,
) -> None:
    one = written(tmp_path, VOCAB).load().fingerprint
    assert written(tmp_path, VOCAB, "").load().fingerprint != one
    spaced = written(tmp_path, VOCAB).model_copy(update={"prefix_space": True})
    assert spaced.load().fingerprint != one
