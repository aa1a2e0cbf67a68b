from __future__ import annotations

from pathlib import Path

import pytest

from ptm.errors import UserError
from ptm.text.tokenizers.specials import BERT_SPECIALS
from ptm.text.vocabulary import Vocabulary, read_vocabulary


def written(tmp_path: Path, data: bytes) -> str:
    path = tmp_path / "vocab.txt"
    path.write_bytes(data)
    return str(path)


def vocabulary(*tokens: str) -> Vocabulary:
    return Vocabulary(tokens=tokens, specials=BERT_SPECIALS, source="vocab.txt")


def test_the_id_of_a_token_is_its_line_number_from_zero(tmp_path: Path) -> None:
    assert read_vocabulary(written(tmp_path, "a\n中\n##b\n".encode())) == ("a", "中", "##b")


def test_dos_line_ends_and_blank_lines_at_the_end_are_dropped(tmp_path: Path) -> None:
    assert read_vocabulary(written(tmp_path, b"a\r\nb\r\n\r\n\n")) == ("a", "b")


def test_only_a_newline_ends_a_token(tmp_path: Path) -> None:
    tokens = ("a", "\u2028", "\x85", "b")
    assert read_vocabulary(written(tmp_path, "\n".join(tokens).encode())) == tokens


def test_a_duplicate_token_is_an_error_with_both_lines(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"vocab\.txt:3: the token 'a' is already on line 1"):
        read_vocabulary(written(tmp_path, b"a\nb\na\n"))


@pytest.mark.parametrize("data", [b"", b"\n\n"])
def test_an_empty_vocabulary_is_an_error(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(UserError, match=r"vocab\.txt: the vocabulary is empty"):
        read_vocabulary(written(tmp_path, data))


def test_a_missing_vocabulary_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.txt: cannot be read: No such file"):
        read_vocabulary(f"{tmp_path}/nowhere.txt")


def test_a_vocabulary_that_is_not_utf_8_is_an_error_with_the_byte_offset(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"vocab\.txt: the file is not valid UTF-8 at byte 2"):
        read_vocabulary(written(tmp_path, b"a\n\xff\n"))


def test_a_missing_special_token_is_an_error_with_file_token_and_key() -> None:
    without = vocabulary("[PAD]", "[UNK]", "[CLS]", "[SEP]", "<mask>", "a")
    with pytest.raises(UserError, match=r"vocab\.txt: .*no \[MASK\].*special_tokens\.mask"):
        without.require(("pad", "mask"))


def test_the_nearest_token_is_suggested_for_a_missing_special_token() -> None:
    with pytest.raises(UserError, match=r'Did you mean "\[MASKED\]"\?'):
        vocabulary("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASKED]").special_id("mask")


def test_special_and_unused_tokens_are_not_ordinary() -> None:
    some = vocabulary("[PAD]", "[unused1]", "a", "[UNK]", "<unused7>", "[used]", "[MASK]", "##b")
    assert [some.tokens[index] for index in some.ordinary_ids] == ["a", "[used]", "##b"]


def test_is_special_is_true_for_special_tokens_only() -> None:
    some = vocabulary("a", "[PAD]", "[unused1]", "[MASK]")
    assert some.is_special.tolist() == [False, True, False, True]


def test_sentinels_are_ordered_by_their_number_at_any_position_of_the_vocabulary() -> None:
    words = vocabulary("<extra_id_1>", "[UNK]", "a", "<extra_id_3>", "<extra_id_0>")
    assert words.sentinels.tolist() == [4, 0], (
        "<extra_id_2> is missing, so <extra_id_3> is not counted"
    )
    assert vocabulary("a").sentinels.tolist() == []


def test_sentinels_are_not_ordinary_tokens() -> None:
    assert vocabulary("[UNK]", "a", "<extra_id_0>", "b").ordinary_ids.tolist() == [1, 3]
