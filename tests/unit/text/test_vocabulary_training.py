"""Vocabularies made of text."""

from __future__ import annotations

import gzip
import random
from collections import Counter
from pathlib import Path

import pytest

from ptm.cli import main
from ptm.errors import EXIT_USER, UserError
from ptm.text.vocabulary_training import TrainingText, trainers
from ptm.text.vocabulary_training.text import Reading, count
from tests.support.vocabularies import bundled_files, config_of, text_of, wish

KINDS = ("wordpiece", "bpe", "unigram", "space")
each_kind = pytest.mark.parametrize("kind", KINDS)


def corpus(tmp_path: Path, text: str, name: str = "corpus.txt") -> TrainingText:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return text_of(path)


ENGLISH = "the cat sat on the mat and the dog sat too\n" * 8


@each_kind
def test_what_is_made_loads_and_has_the_size_it_says(kind: str, tmp_path: Path) -> None:
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
        trainers()[kind].train(corpus(tmp_path, "\n".join(lines), "c.txt"), wish(size))
        for _ in range(2)
    ]
    assert made[0].files == made[1].files


def test_wordpieces_do_not_depend_on_the_order_of_the_text(
    tmp_path: Path, bundled_lines: list[str]
) -> None:
    """Hash maps of the library, and ties between pieces, show where it would."""
    shuffled = random.Random(0).sample(bundled_lines, len(bundled_lines))
    one = corpus(tmp_path, "\n".join(bundled_lines), "one.txt")
    other = corpus(tmp_path, "\n".join(shuffled), "other.txt")
    for kind in ("wordpiece", "bpe"):
        made = [trainers()[kind].train(text, wish(900)).files for text in (one, other)]
        assert made[0] == made[1], kind


@pytest.mark.parametrize("size", [40, 45, 52])
def test_a_vocabulary_of_pieces_has_exactly_the_size_that_was_asked(
    tmp_path: Path, size: int
) -> None:
    text = corpus(tmp_path, ENGLISH + "mats cats dogs mating dogged catty\n" * 4)
    assert trainers()["wordpiece"].train(text, wish(size)).size == size
    assert trainers()["bpe"].train(text, wish(size + 240)).size == size + 240


def test_chinese_characters_stand_alone_and_none_is_left_out(tmp_path: Path) -> None:
    text = corpus(tmp_path, "我们在北京看书abc\n我们看书abd\n" * 3 + "龘\n")
    tokens = trainers()["wordpiece"].train(text, wish(100)).files["vocab.txt"].decode().split("\n")
    chinese = [token for token in tokens if any("\u4e00" <= c <= "\u9fff" for c in token)]
    assert sorted(chinese) == sorted("我们在北京看书")
    assert "abc" in tokens
    assert tokens[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def test_frequent_characters_come_first(tmp_path: Path) -> None:
    text = corpus(tmp_path, "我我我我们们们在在\n")
    tokens = trainers()["wordpiece"].train(text, wish(100)).files["vocab.txt"].decode().split("\n")
    assert tokens[5:8] == ["我", "们", "在"]


def test_bytes_have_robertas_first_ids_and_all_256_letters(tmp_path: Path) -> None:
    trained = trainers()["bpe"].train(corpus(tmp_path, ENGLISH), wish(300))
    tokenizer = config_of(trained, tmp_path / "bpe").load()
    assert tokenizer.vocabulary.tokens[:5] == ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    assert "Ġthe" in tokenizer.vocabulary.ids
    assert tokenizer.vocabulary.special_id("unk") not in tokenizer.encode(["龘\x00"])[0]


def test_words_are_those_that_occur_often_enough_by_frequency(tmp_path: Path) -> None:
    text = corpus(tmp_path, "b a b c c c\nd [MASK] [MASK] [MASK]\n")
    tokens = trainers()["space"].train(text, wish(min_count=2)).files["vocab.txt"].decode()
    assert tokens.split("\n") == [*["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], "c", "b", ""]
    assert trainers()["space"].train(text, wish(7, min_count=1)).size == 7


def test_lowercase_vocabularies_have_no_capitals(tmp_path: Path) -> None:
    text = corpus(tmp_path, ENGLISH.upper())
    for kind in KINDS:
        size = {"wordpiece": 60, "bpe": 300, "unigram": 40}.get(kind)
        trained = trainers()[kind].train(text, wish(size, lowercase=True))
        tokenizer = config_of(trained, tmp_path / kind).load()
        assert tokenizer.config.lowercase, kind
        unknown = tokenizer.vocabulary.special_id("unk")
        assert unknown not in tokenizer.encode(["THE cat SAT"])[0], kind


@each_kind
def test_extra_special_tokens_are_there_and_never_text(kind: str, tmp_path: Path) -> None:
    size = {"wordpiece": 60, "bpe": 300, "unigram": 40}.get(kind)
    trained = trainers()[kind].train(corpus(tmp_path, ENGLISH), wish(size, extra=("<e1>",)))
    tokenizer = config_of(trained, tmp_path / kind).load()
    assert "<e1>" in tokenizer.vocabulary.ids


@each_kind
@pytest.mark.parametrize("twice", [True, False])
def test_special_tokens_that_collide_are_refused(kind: str, tmp_path: Path, twice: bool) -> None:
    mask = "[MASK]" if kind in ("wordpiece", "space") else "<mask>"
    extra = ("<e>", "<e>") if twice else (mask,)
    with pytest.raises(UserError, match=r"is a special token already"):
        trainers()[kind].train(corpus(tmp_path, ENGLISH), wish(500, extra=extra))


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
def test_a_size_smaller_than_the_alphabet_is_refused_with_what_is_needed(
    kind: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"--size 14: is too small: .* need \d+"):
        trainers()[kind].train(corpus(tmp_path, ENGLISH), wish(14))


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
def test_kinds_that_need_a_size_say_so(kind: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--size: how many tokens"):
        trainers()[kind].train(corpus(tmp_path, ENGLISH), wish())


@each_kind
def test_a_corpus_without_text_is_refused(kind: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"corpus\.txt: the corpus has no text"):
        trainers()[kind].train(corpus(tmp_path, "\n \n\t\n"), wish(500))


def test_a_count_that_nothing_reaches_is_refused_with_the_most_frequent(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r'"the", occurs 24 times'):
        trainers()["space"].train(corpus(tmp_path, ENGLISH), wish(min_count=25))


def test_several_files_plain_and_compressed_are_one_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one two\n")
    with gzip.open(tmp_path / "b.txt.gz", "wt") as file:
        file.write("two three\n")
    words = Counter(
        w
        for line in text_of(tmp_path / "a.txt", tmp_path / "b.txt.gz").lines()
        for w in line.split()
    )
    assert words == {"two": 2, "one": 1, "three": 1}


def test_a_part_of_a_large_corpus_is_spread_over_it(tmp_path: Path) -> None:
    path = tmp_path / "large.txt"
    path.write_text("".join(f"{number:07}\n" for number in range(2**20)))  # 8 MiB
    reports: list[Reading] = []
    whole = text_of(path)
    part = TrainingText(corpus=whole.corpus, limit=2 * 2**20, report=reports.append)
    numbers = [int(line) for line in part.lines()]
    assert len(numbers) == pytest.approx(2**18, rel=0.01)
    assert max(numbers) > 0.5 * 2**20
    assert numbers == [int(line) for line in part.lines()]
    assert reports[-1].bytes_read == reports[-1].bytes_total


def test_the_rarest_words_are_forgotten_where_there_are_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ptm.text.vocabulary_training.text.MOST_WORDS", 10)
    counts = count([["often"] * 5, *([f"word{i}", "often"] for i in range(50))])
    assert len(counts) <= 10
    assert counts["often"] == 55


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram", "space"])
def test_a_file_in_another_encoding_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    corpus, out = tmp_path / "gbk.txt", tmp_path / "out"
    corpus.write_bytes("good\n这是一本好书。\n第二行也是中文。\n".encode("gb18030"))
    words = ["vocab", "train", str(corpus), "--out", str(out), "--type", kind, "--size", "900"]
    assert main(words) == EXIT_USER
    assert "gbk.txt:2: is not UTF-8, and so are 2 of 3 lines" in capsys.readouterr().err
    assert not out.exists()
