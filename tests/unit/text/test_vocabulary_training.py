"""Vocabularies trained from text."""

from __future__ import annotations

import gzip
import random
from collections import Counter
from pathlib import Path

import pytest

from ptm.cli import main
from ptm.errors import EXIT_USER, UserError
from ptm.text.vocabulary_training import TrainingText, trainers
from ptm.text.vocabulary_training.text import ReadProgress, count
from tests.support.vocabularies import bundled_files, config_of, request, text_of

KINDS = ("wordpiece", "bpe", "unigram", "space")
each_kind = pytest.mark.parametrize("kind", KINDS)


def corpus(tmp_path: Path, text: str, name: str = "corpus.txt") -> TrainingText:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return text_of(path)


ENGLISH = "the cat sat on the mat and the dog sat too\n" * 8


@each_kind
def test_a_trained_vocabulary_loads_and_has_the_reported_size(kind: str, tmp_path: Path) -> None:
    trained = bundled_files(kind)
    config = config_of(trained, tmp_path, size=trained.size)
    tokenizer = config.load()
    tokenizer.vocabulary.require(("pad", "unk", "cls", "sep", "mask"))
    assert tokenizer.encode(["the 我们"])[0]


@each_kind
def test_the_same_text_gives_the_same_bytes(kind: str, tmp_path: Path) -> None:
    size = None if kind == "space" else 400
    lines = [f"{a} {b} {a}{b}" for a in "abcdefgh" for b in ("ing", "我们", "看书", "xyz")]
    made = [
        trainers()[kind].train(corpus(tmp_path, "\n".join(lines), "c.txt"), request(size))
        for _ in range(2)
    ]
    assert made[0].files == made[1].files


def test_wordpieces_do_not_depend_on_the_order_of_the_text(
    tmp_path: Path, bundled_lines: list[str]
) -> None:
    """Hash maps of the library and ties between pieces could make the result depend on it."""
    shuffled = random.Random(0).sample(bundled_lines, len(bundled_lines))
    one = corpus(tmp_path, "\n".join(bundled_lines), "one.txt")
    other = corpus(tmp_path, "\n".join(shuffled), "other.txt")
    for kind in ("wordpiece", "bpe"):
        made = [trainers()[kind].train(text, request(900)).files for text in (one, other)]
        assert made[0] == made[1], kind


@pytest.mark.parametrize("size", [40, 45, 52])
def test_a_vocabulary_of_pieces_has_exactly_the_requested_size(tmp_path: Path, size: int) -> None:
    text = corpus(tmp_path, ENGLISH + "mats cats dogs mating dogged catty\n" * 4)
    assert trainers()["wordpiece"].train(text, request(size)).size == size
    assert trainers()["bpe"].train(text, request(size + 240)).size == size + 240


def test_every_frequent_chinese_character_is_a_token_of_its_own(tmp_path: Path) -> None:
    text = corpus(tmp_path, "我们在北京看书abc\n我们看书abd\n" * 3 + "龘\n")
    tokens = (
        trainers()["wordpiece"].train(text, request(100)).files["vocab.txt"].decode().split("\n")
    )
    chinese = [token for token in tokens if any("\u4e00" <= c <= "\u9fff" for c in token)]
    assert sorted(chinese) == sorted("我们在北京看书")
    assert "abc" in tokens
    assert tokens[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def test_frequent_characters_come_first(tmp_path: Path) -> None:
    text = corpus(tmp_path, "我我我我们们们在在\n")
    tokens = (
        trainers()["wordpiece"].train(text, request(100)).files["vocab.txt"].decode().split("\n")
    )
    assert tokens[5:8] == ["我", "们", "在"]


def test_byte_level_bpe_starts_with_the_ids_of_roberta_and_has_all_256_letters(
    tmp_path: Path,
) -> None:
    trained = trainers()["bpe"].train(corpus(tmp_path, ENGLISH), request(300))
    tokenizer = config_of(trained, tmp_path / "bpe").load()
    assert tokenizer.vocabulary.tokens[:5] == ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    assert "Ġthe" in tokenizer.vocabulary.ids
    assert tokenizer.vocabulary.special_id("unk") not in tokenizer.encode(["龘\x00"])[0]


def test_words_that_occur_min_count_times_are_ordered_by_frequency(tmp_path: Path) -> None:
    text = corpus(tmp_path, "b a b c c c\nd [MASK] [MASK] [MASK]\n")
    tokens = trainers()["space"].train(text, request(min_count=2)).files["vocab.txt"].decode()
    assert tokens.split("\n") == [*["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], "c", "b", ""]
    assert trainers()["space"].train(text, request(7, min_count=1)).size == 7


def test_lowercase_vocabularies_have_no_capitals(tmp_path: Path) -> None:
    text = corpus(tmp_path, ENGLISH.upper())
    for kind in KINDS:
        size = {"wordpiece": 60, "bpe": 300, "unigram": 40}.get(kind)
        trained = trainers()[kind].train(text, request(size, lowercase=True))
        tokenizer = config_of(trained, tmp_path / kind).load()
        assert tokenizer.config.lowercase, kind
        unknown = tokenizer.vocabulary.special_id("unk")
        assert unknown not in tokenizer.encode(["THE cat SAT"])[0], kind


@each_kind
def test_extra_special_tokens_are_in_the_vocabulary(kind: str, tmp_path: Path) -> None:
    size = {"wordpiece": 60, "bpe": 300, "unigram": 40}.get(kind)
    trained = trainers()[kind].train(corpus(tmp_path, ENGLISH), request(size, extra=("<e1>",)))
    tokenizer = config_of(trained, tmp_path / kind).load()
    assert "<e1>" in tokenizer.vocabulary.ids


@each_kind
@pytest.mark.parametrize("twice", [True, False])
def test_duplicate_special_tokens_are_an_error(kind: str, tmp_path: Path, twice: bool) -> None:
    mask = "[MASK]" if kind in ("wordpiece", "space") else "<mask>"
    extra = ("<e>", "<e>") if twice else (mask,)
    with pytest.raises(UserError, match=r"is already a special token"):
        trainers()[kind].train(corpus(tmp_path, ENGLISH), request(500, extra=extra))


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
def test_a_size_smaller_than_the_alphabet_is_an_error_with_the_size_needed(
    kind: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"--size 14 is too small: .* need \d+"):
        trainers()[kind].train(corpus(tmp_path, ENGLISH), request(14))


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
def test_a_missing_size_is_an_error_for_types_that_require_it(kind: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--size \(number of tokens\) is required"):
        trainers()[kind].train(corpus(tmp_path, ENGLISH), request())


@each_kind
def test_a_corpus_without_text_is_an_error(kind: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"corpus\.txt: the corpus has no text"):
        trainers()[kind].train(corpus(tmp_path, "\n \n\t\n"), request(500))


def test_a_min_count_that_no_word_reaches_is_an_error_with_the_most_frequent_word(
    tmp_path: Path,
) -> None:
    with pytest.raises(UserError, match=r'"the", occurs 24 times'):
        trainers()["space"].train(corpus(tmp_path, ENGLISH), request(min_count=25))


def test_plain_and_compressed_files_are_read_as_one_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one two\n")
    with gzip.open(tmp_path / "b.txt.gz", "wt") as file:
        file.write("two three\n")
    words = Counter(
        w
        for line in text_of(tmp_path / "a.txt", tmp_path / "b.txt.gz").lines()
        for w in line.split()
    )
    assert words == {"two": 2, "one": 1, "three": 1}


def test_of_a_large_corpus_evenly_spread_blocks_are_read(tmp_path: Path) -> None:
    path = tmp_path / "large.txt"
    path.write_text("".join(f"{number:07}\n" for number in range(2**20)))  # 8 MiB
    reports: list[ReadProgress] = []
    whole = text_of(path)
    part = TrainingText(corpus=whole.corpus, limit=2 * 2**20, report=reports.append)
    numbers = [int(line) for line in part.lines()]
    assert len(numbers) == pytest.approx(2**18, rel=0.01)
    assert max(numbers) > 0.5 * 2**20
    assert numbers == [int(line) for line in part.lines()]
    assert reports[-1].bytes_read == reports[-1].bytes_total


def test_the_rarest_words_are_dropped_if_there_are_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ptm.text.vocabulary_training.text.MOST_WORDS", 10)
    counts = count([["often"] * 5, *([f"word{i}", "often"] for i in range(50))])
    assert len(counts) <= 10
    assert counts["often"] == 55


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram", "space"])
def test_a_file_in_another_encoding_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    corpus, out = tmp_path / "gbk.txt", tmp_path / "out"
    corpus.write_bytes("good\n这是一本好书。\n第二行也是中文。\n".encode("gb18030"))
    words = ["vocab", "train", str(corpus), "--out", str(out), "--type", kind, "--size", "900"]
    assert main(words) == EXIT_USER
    assert (
        "gbk.txt:2: the line is not valid UTF-8 (invalid lines: 2 of 3)" in capsys.readouterr().err
    )
    assert not out.exists()
