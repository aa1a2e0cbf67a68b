"""SentencePiece models: the ids of the `sentencepiece` package, or those of fairseq."""

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


def test_ids_of_the_file_are_the_packages(
    plain: Tokenizer, package: SentencePieceProcessor, bundled_lines: list[str]
) -> None:
    assert plain.encode([*bundled_lines, *ODD]) == package.encode([*bundled_lines, *ODD])


def shifted(package: SentencePieceProcessor, text: str) -> list[int]:
    """XLM-R's ids as its paper's code has them: one later, the unknown at 3."""
    return [index + 1 if index else 3 for index in package.encode(text)]


def test_ids_of_fairseq_are_one_later(
    fairseq: Tokenizer, package: SentencePieceProcessor, bundled_lines: list[str]
) -> None:
    for text in [*bundled_lines, *ODD]:
        assert fairseq.encode([text])[0] == shifted(package, text), text


def test_ids_of_any_text_are_the_packages(
    fairseq: Tokenizer, package: SentencePieceProcessor
) -> None:
    @settings(max_examples=150)
    @given(text=ANY_TEXT)
    def same(text: str) -> None:
        assert fairseq.encode([text])[0] == shifted(package, text)

    same()


def test_specials_of_fairseq_stand_where_xlm_roberta_has_them(
    fairseq: Tokenizer, package: SentencePieceProcessor
) -> None:
    vocabulary = fairseq.vocabulary
    assert [vocabulary.special_id(role) for role in ("cls", "pad", "sep", "unk")] == [0, 1, 2, 3]
    assert vocabulary.size == len(package) + 2
    assert vocabulary.special_id("mask") == vocabulary.size - 1
    assert vocabulary.tokens[4] == package.id_to_piece(3)


def test_ids_with_offsets_are_the_same_ids(fairseq: Tokenizer, bundled_lines: list[str]) -> None:
    texts = [*bundled_lines, *ODD]
    assert [ids for ids, _ in fairseq.encode_with_offsets(texts)] == fairseq.encode(texts)


def test_special_tokens_in_a_text_are_plain_text(fairseq: Tokenizer) -> None:
    (ids,) = fairseq.encode(["a <mask> </s><s> <pad>"])
    written = [index for index in ids if fairseq.vocabulary.is_special[index]]
    assert set(written) <= {fairseq.vocabulary.special_id("unk")}


def model(folder: Path, name: str, **options: Any) -> Path:
    """A small model with other options than ours."""
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


def test_bpe_models_give_the_packages_ids(tmp_path: Path) -> None:
    path = model(tmp_path, "bpe", model_type="bpe")
    texts = ["the cat and a dog", "我们在看书 the mat", *ODD]
    package = SentencePieceProcessor(model_file=str(path))
    assert sentencepiece(path, special_tokens=SPECIALS).encode(texts) == package.encode(texts)


def test_a_special_token_that_the_file_looks_for_in_text_is_plain_text(tmp_path: Path) -> None:
    path = model(tmp_path, "symbols", user_defined_symbols=["[MASK]", "[NEW]"])
    tokenizer = sentencepiece(path, special_tokens={**SPECIALS, "mask": "[MASK]"})
    ids = tokenizer.vocabulary.ids
    (found,) = tokenizer.encode(["a [MASK] the [NEW]"])
    assert ids["[MASK]"] not in found
    assert ids["[NEW]"] in found
    assert ids["[MASK]"] in tokenizer.encode_marked("a [MASK] the")


def test_padding_and_the_unknown_are_the_files(tmp_path: Path) -> None:
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
    with pytest.raises(UserError, match=r"begins with \[PAD\].*Set tokenizer\.ids: file"):
        sentencepiece(path, ids="fairseq")


def test_pieces_that_no_text_becomes_are_not_ordinary(tmp_path: Path) -> None:
    path = model(tmp_path, "control", control_symbols=["<cls>"])
    vocabulary = sentencepiece(path, special_tokens=SPECIALS).vocabulary
    assert vocabulary.ids["<cls>"] not in vocabulary.ordinary_ids
    assert vocabulary.ids["▁"] in vocabulary.ordinary_ids


def test_text_is_lowercased_where_asked_and_offsets_stay_those_of_the_text(tmp_path: Path) -> None:
    tokenizer = sentencepiece(model(tmp_path, "lower"), special_tokens=SPECIALS, lowercase=True)
    ((ids, offsets),) = tokenizer.encode_with_offsets(["İ THE CAT"])
    assert ids == tokenizer.encode(["i̇ the cat"])[0]
    assert offsets[-1][1] == len("İ THE CAT")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[PAD]\n[UNK]\n", r"not a SentencePiece model.*belongs to tokenizer\.type: wordpiece"),
        (b"", r"not a SentencePiece model"),
        (b"\x00\xff" * 40, r"not a SentencePiece model"),
        (b"version https://git-lfs.github.com/spec/v1\n", r"git lfs pull"),
    ],
)
def test_what_is_no_model_is_refused_by_name(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "vocab.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"vocab\.txt: .*{said}"):
        sentencepiece(path)


def test_a_missing_model_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"x\.model: cannot be read as a SentencePiece model"):
        sentencepiece(tmp_path / "x.model")


def test_a_model_of_whole_words_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model of words or characters"):
        sentencepiece(model(tmp_path, "word", model_type="word"))


def test_the_fingerprint_changes_with_the_numbering_and_the_file(
    folder: Path, fairseq: Tokenizer, plain: Tokenizer, tmp_path: Path
) -> None:
    other = sentencepiece(model(tmp_path, "other"), special_tokens=SPECIALS)
    again = bundled_config("unigram", tmp_path / "copy").load()
    assert len({fairseq.fingerprint, plain.fingerprint, other.fingerprint}) == 3
    assert again.fingerprint == fairseq.fingerprint


def test_a_real_chinese_model_gives_the_packages_ids(shared_data: Path) -> None:
    path = shared_data / "vocab" / "cluecorpussmall_spm.model"
    package = SentencePieceProcessor(model_file=str(path))
    tokenizer = sentencepiece(path, size=100000)
    with (shared_data / "book_review.txt").open(encoding="utf-8") as file:
        texts = [*(line.rstrip("\n") for line, _ in zip(file, range(500), strict=False)), *ODD]
    assert tokenizer.encode(texts) == package.encode(texts)
    roles = ("pad", "unk", "cls", "sep", "mask")
    assert [tokenizer.vocabulary.special_id(role) for role in roles] == [0, 1, 2, 3, 4]


def test_sentinels_stand_after_the_files_pieces_backwards_as_t5_has_them(
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


def test_sentinels_that_a_file_has_already_are_not_added_again(tmp_path: Path) -> None:
    model = sentencepiece_model(tmp_path / "own.model", controls=("<extra_id_0>",))
    config = SentencePiece(type="sentencepiece", model=str(model), sentinels=2)
    with pytest.raises(UserError, match=r"has <extra_id_0> among its pieces already"):
        config.load()
    assert config.model_copy(update={"sentinels": 0}).load().vocabulary.sentinels.size == 1
