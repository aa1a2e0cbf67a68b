"""SentencePiece models, with ids of the `sentencepiece` package or of fairseq."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

from ptm.errors import UserError
from ptm.text.tokenizers import Tokenizer
from ptm.text.tokenizers.sentencepiece import SentencePiece
from tests.support.sentencepieces import sentencepiece_model
from tests.support.vocabularies import bundled_config
from tests.unit.text.test_word_tokenizers import ANY_TEXT, ODD


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sentencepiece")


@pytest.fixture(scope="module")
def fairseq(folder: Path) -> Tokenizer:
    return bundled_config("unigram", folder).load()


@pytest.fixture(scope="module")
def plain(folder: Path, fairseq: Tokenizer) -> Tokenizer:
    specials = {"mask": "<s>", "pad": "<s>"}
    return bundled_config("unigram", folder, ids="file", special_tokens=specials).load()


@pytest.fixture(scope="module")
def package(folder: Path, fairseq: Tokenizer) -> SentencePieceProcessor:
    return SentencePieceProcessor(model_file=str(folder / "sentencepiece.model"))


def test_ids_with_file_numbering_equal_the_package_ids(
    plain: Tokenizer, package: SentencePieceProcessor, bundled_lines: list[str]
) -> None:
    assert plain.encode([*bundled_lines, *ODD]) == package.encode([*bundled_lines, *ODD])


def shifted(package: SentencePieceProcessor, text: str) -> list[int]:
    """XLM-R's ids, as in fairseq: the package's ids plus 1, with the unknown token at 3."""
    return [index + 1 if index else 3 for index in package.encode(text)]


def test_fairseq_ids_are_the_package_ids_plus_one(
    fairseq: Tokenizer, package: SentencePieceProcessor, bundled_lines: list[str]
) -> None:
    for text in [*bundled_lines, *ODD]:
        assert fairseq.encode([text])[0] == shifted(package, text), text


def test_fairseq_ids_of_any_text_follow_from_the_package_ids(
    fairseq: Tokenizer, package: SentencePieceProcessor
) -> None:
    @settings(max_examples=150)
    @given(text=ANY_TEXT)
    def same(text: str) -> None:
        assert fairseq.encode([text])[0] == shifted(package, text)

    same()


def test_fairseq_special_tokens_have_the_ids_of_xlm_roberta(
    fairseq: Tokenizer, package: SentencePieceProcessor
) -> None:
    vocabulary = fairseq.vocabulary
    assert [vocabulary.special_id(role) for role in ("cls", "pad", "sep", "unk")] == [0, 1, 2, 3]
    assert vocabulary.size == len(package) + 2
    assert vocabulary.special_id("mask") == vocabulary.size - 1
    assert vocabulary.tokens[4] == package.id_to_piece(3)


def test_encoding_with_offsets_gives_the_same_ids(
    fairseq: Tokenizer, bundled_lines: list[str]
) -> None:
    texts = [*bundled_lines, *ODD]
    assert [ids for ids, _ in fairseq.encode_with_offsets(texts)] == fairseq.encode(texts)


def test_special_tokens_in_a_text_are_plain_text(fairseq: Tokenizer) -> None:
    (ids,) = fairseq.encode(["a <mask> </s><s> <pad>"])
    written = [index for index in ids if fairseq.vocabulary.is_special[index]]
    assert set(written) <= {fairseq.vocabulary.special_id("unk")}


def model(folder: Path, name: str, **options: Any) -> Path:
    """Train a small model with `options` of SentencePiece's trainer."""
    written = io.BytesIO()
    lines = ["the cat sat on the mat", "a dog and a cat", "我们在北京看书", "看书的我们"] * 20
    SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=written,
        vocab_size=80,
        hard_vocab_limit=False,
        minloglevel=2,
        **options,
    )
    path = folder / f"{name}.model"
    path.write_bytes(written.getvalue())
    return path


def sentencepiece(path: Path, **options: object) -> Tokenizer:
    return SentencePiece.model_validate(
        {"type": "sentencepiece", "model": str(path), **options}
    ).load()


SPECIALS = {"cls": "<s>", "sep": "</s>", "mask": "</s>", "pad": "<s>"}


def test_bpe_models_give_the_package_ids(tmp_path: Path) -> None:
    path = model(tmp_path, "bpe", model_type="bpe")
    texts = ["the cat and a dog", "我们在看书 the mat", *ODD]
    package = SentencePieceProcessor(model_file=str(path))
    assert sentencepiece(path, special_tokens=SPECIALS).encode(texts) == package.encode(texts)


def test_a_special_token_that_is_a_user_defined_symbol_is_plain_text(tmp_path: Path) -> None:
    path = model(tmp_path, "symbols", user_defined_symbols=["[MASK]", "[NEW]"])
    tokenizer = sentencepiece(path, special_tokens={**SPECIALS, "mask": "[MASK]"})
    ids = tokenizer.vocabulary.ids
    (found,) = tokenizer.encode(["a [MASK] the [NEW]"])
    assert ids["[MASK]"] not in found
    assert ids["[NEW]"] in found
    assert ids["[MASK]"] in tokenizer.encode_with_masks("a [MASK] the")


def test_padding_and_unknown_tokens_are_read_from_the_file(tmp_path: Path) -> None:
    path = model(
        tmp_path,
        "named",
        pad_id=0,
        unk_id=1,
        bos_id=2,
        eos_id=3,
        pad_piece="[PAD]",
        unk_piece="[UNK]",
        bos_piece="[CLS]",
        eos_piece="[SEP]",
        control_symbols=["[MASK]"],
    )
    vocabulary = sentencepiece(path).vocabulary
    roles = ("pad", "unk", "cls", "sep", "mask")
    assert [vocabulary.special_id(role) for role in roles] == [0, 1, 2, 3, 4]
    with pytest.raises(UserError, match=r"the first pieces are \[PAD\].*Set tokenizer\.ids: file"):
        sentencepiece(path, ids="fairseq")


def test_control_pieces_are_not_ordinary(tmp_path: Path) -> None:
    path = model(tmp_path, "control", control_symbols=["<cls>"])
    vocabulary = sentencepiece(path, special_tokens=SPECIALS).vocabulary
    assert vocabulary.ids["<cls>"] not in vocabulary.ordinary_ids
    assert vocabulary.ids["▁"] in vocabulary.ordinary_ids


def test_offsets_of_lowercased_text_are_those_of_the_original_text(tmp_path: Path) -> None:
    tokenizer = sentencepiece(model(tmp_path, "lower"), special_tokens=SPECIALS, lowercase=True)
    ((ids, offsets),) = tokenizer.encode_with_offsets(["İ THE CAT"])
    assert ids == tokenizer.encode(["i̇ the cat"])[0]
    assert offsets[-1][1] == len("İ THE CAT")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[PAD]\n[UNK]\n", r"not a SentencePiece model.*belongs to tokenizer\.type: wordpiece"),
        (b"", r"not a SentencePiece model"),
        (b"\x00\xff" * 40, r"not a SentencePiece model"),
        (b"version https://git-lfs.github.com/spec/v1\n", r"git lfs pull"),
    ],
)
def test_a_file_that_is_not_a_model_is_an_error_that_names_it(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "vocab.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"vocab\.txt: .*{message}"):
        sentencepiece(path)


def test_a_missing_model_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"x\.model: cannot be read as a SentencePiece model"):
        sentencepiece(tmp_path / "x.model")


def test_a_model_of_whole_words_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model of words or characters"):
        sentencepiece(model(tmp_path, "word", model_type="word"))


def test_the_fingerprint_changes_with_the_numbering_and_the_file(
    folder: Path, fairseq: Tokenizer, plain: Tokenizer, tmp_path: Path
) -> None:
    other = sentencepiece(model(tmp_path, "other"), special_tokens=SPECIALS)
    again = bundled_config("unigram", tmp_path / "copy").load()
    assert len({fairseq.fingerprint, plain.fingerprint, other.fingerprint}) == 3
    assert again.fingerprint == fairseq.fingerprint


def test_a_real_chinese_model_gives_the_package_ids(shared_data: Path) -> None:
    path = shared_data / "vocab" / "cluecorpussmall_spm.model"
    package = SentencePieceProcessor(model_file=str(path))
    tokenizer = sentencepiece(path, size=100000)
    with (shared_data / "book_review.txt").open(encoding="utf-8") as file:
        texts = [*(line.rstrip("\n") for line, _ in zip(file, range(500), strict=False)), *ODD]
    assert tokenizer.encode(texts) == package.encode(texts)
    roles = ("pad", "unk", "cls", "sep", "mask")
    assert [tokenizer.vocabulary.special_id(role) for role in roles] == [0, 1, 2, 3, 4]


def test_sentinels_follow_the_pieces_of_the_file_in_reverse_order_as_in_t5(
    folder: Path, plain: Tokenizer, bundled_lines: list[str]
) -> None:
    config = SentencePiece(type="sentencepiece", model=str(folder / "sentencepiece.model"))
    with_sentinels = config.model_copy(update={"sentinels": 100}).load()
    words = with_sentinels.vocabulary
    size = plain.vocabulary.size
    assert words.sentinels.tolist() == list(range(size + 99, size - 1, -1))
    texts = [*bundled_lines, "<extra_id_0>"]
    assert with_sentinels.encode(texts) == plain.encode(texts)
    assert max(map(max, with_sentinels.encode(texts))) < size
    assert not set(words.sentinels) & set(words.ordinary_ids)


def test_adding_sentinels_that_the_file_already_has_is_an_error(tmp_path: Path) -> None:
    model = sentencepiece_model(tmp_path / "own.model", controls=("<extra_id_0>",))
    config = SentencePiece(type="sentencepiece", model=str(model), sentinels=2)
    with pytest.raises(UserError, match=r"the model already has the piece <extra_id_0>"):
        config.load()
    assert config.model_copy(update={"sentinels": 0}).load().vocabulary.sentinels.size == 1
