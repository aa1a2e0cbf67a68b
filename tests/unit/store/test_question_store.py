"""Stores of questions: answers as tokens, characters of tokens, records; workers and resuming."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ptm.cli import main
from ptm.data.documents import Documents
from ptm.data.question_windows import question_windows
from ptm.errors import EXIT_DONE, EXIT_USER, UserError
from ptm.store.preprocess import preprocess
from ptm.store.question_arrays import NO_ANSWER, NOT_LOCATED
from ptm.store.reader import TokenStore
from ptm.store.texts import TextTokenizer
from ptm.text.tokenizers import TokenizerConfig
from ptm.text.tokenizers.bpe import Bpe
from ptm.text.tokenizers.char import Char
from ptm.text.tokenizers.wordpiece import WordPiece
from tests.support.question_texts import (
    as_records,
    extracting,
    make_store,
    paragraph,
    paragraphs,
    question,
    squad,
    work_of,
    write_json,
    write_lines,
)
from tests.support.small_recipes import RECIPE
from tests.support.small_runs import vocab


def gold_texts(store: TokenStore) -> list[tuple[str, str]]:
    """The text of the span of each question's answer, and the first gold answer."""
    starts, lengths, counts = store.sentence_ranges
    found = []
    sentence = 0
    for record, count in zip(store.records(), counts.tolist(), strict=True):
        context = slice(sentence, sentence + 1)
        begins, ends = store.token_characters(starts[context], lengths[context])
        for number in range(count - 1):
            first, last = store.answer_spans[sentence + 1 + number]
            if first >= 0:
                answer = record.answers[number][0].strip()
                found.append((record.context[begins[first] : ends[last]], answer))
        sentence += count
    return found


def test_answers_are_spans_of_tokens_with_their_characters(tmp_path: Path) -> None:
    some = paragraphs(30, seed=2)
    make_store(tmp_path / "s", write_json(tmp_path / "a.json", squad(*some)))
    store = TokenStore.open(tmp_path / "s")
    found = gold_texts(store)
    assert len(found) == sum(len(one["qas"]) for one in some)
    assert all(text == answer for text, answer in found)
    assert store.info.report["answers_inside_tokens"] == 0
    records = list(store.records())
    assert [one.context for one in records] == [one["context"] for one in some]
    assert records[3].ids == tuple(qa["id"] for qa in some[3]["qas"])


TEXTS = (
    "  Ünïcode, naïve\tcafé 北京\u3000是 首都!\n",
    "a\u200bb ##c 1980年",
    "ﬁ x̂y 🙂🙂 end ",
    "好",
)


def bpe_of(request: pytest.FixtureRequest) -> TokenizerConfig:
    folder: Path = request.getfixturevalue("shared_data") / "vocab"
    words, merges = (folder / f"huggingface_gpt2_{name}.txt" for name in ("vocab", "merges"))
    if not words.is_file():
        pytest.skip(f"{words} does not exist")
    specials = {"unk": "<|endoftext|>"}
    return Bpe(type="bpe", vocab=str(words), merges=str(merges), special_tokens=specials)


@pytest.mark.parametrize("name", ["wordpiece", "char", "bpe"])
def test_characters_of_tokens_cover_the_text(request: pytest.FixtureRequest, name: str) -> None:
    configs: dict[str, Callable[[], TokenizerConfig]] = {
        "wordpiece": lambda: WordPiece(type="wordpiece", vocab=str(vocab()), lowercase=True),
        "char": lambda: Char(type="char", vocab=str(vocab())),
        "bpe": lambda: bpe_of(request),
    }
    tokenizer = configs[name]().load()
    encoded, spans = TextTokenizer(tokenizer, None, np.uint32).with_characters(TEXTS)
    assert encoded.tokens.tolist() == [i for ids in tokenizer.encode(TEXTS) for i in ids]
    end = 0
    for text, length in zip(TEXTS, encoded.lengths.tolist(), strict=True):
        starts, ends = (a[end : end + length].tolist() for a in (spans.starts, spans.ends))
        end += length
        assert starts == sorted(starts)
        assert ends == sorted(ends)
        assert all(0 <= s <= e <= len(text) for s, e in zip(starts, ends, strict=True))
        # Every character that is not white space belongs to a token, and no white space at an end.
        covered = {at for s, e in zip(starts, ends, strict=True) for at in range(s, e)}
        visible = {at for at, one in enumerate(text) if not one.isspace()}
        assert visible <= covered
        for s, e in zip(starts, ends, strict=True):
            assert text[s:e] == text[s:e].strip()


def test_unusual_answers_are_counted_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_json(
        tmp_path / "a.json",
        squad(
            paragraph(
                "bobby is ann, paris is bobby",
                question("exact", "who?", ("ann", 9)),
                question("moved", "who?", ("bobby", 3)),
                question("lost", "who?", ("dog", 3), ("cat", 1)),
                question("none", "who?", is_impossible=True),
                question("inside", "who?", ("aris", 15)),
            )
        ),
    )
    with caplog.at_level(logging.WARNING):
        info = make_store(tmp_path / "s", path)
    assert {name: info.report[name] for name in info.report if "ans" in name or "ques" in name} == {
        "questions": 5,
        "unanswerable_questions": 1,
        "answers_moved": 1,
        "answers_not_in_context": 1,
        "answers_inside_tokens": 1,
    }
    spans = TokenStore.open(tmp_path / "s").answer_spans
    assert (spans[3] == NOT_LOCATED).all()
    assert (spans[4] == NO_ANSWER).all()
    assert "1 of 5 answers are not at their answer_start" in caplog.text
    assert f"the first: {path}: data[0].paragraphs[0].qas[2] (lost)" in caplog.text


def test_a_file_without_answers_is_an_error(tmp_path: Path) -> None:
    unlabelled = {"id": "q7", "question": "who?"}
    path = write_json(tmp_path / "a.json", squad(paragraph("ann is here", unlabelled)))
    with pytest.raises(UserError, match=r"qas\[0\]: the question q7 has no answers, but training"):
        make_store(tmp_path / "s", path)
    assert not (tmp_path / "s").exists()
    assert not (tmp_path / "s.partial").exists()
    # As in the test set of CMRC 2018, whose answers are placeholders.
    fake = question("q8", "who?", ("FAKE", -1))
    path = write_json(tmp_path / "b.json", squad(paragraph("ann is here", fake)))
    with pytest.raises(UserError, match="none of the 1 answers is in its context"):
        make_store(tmp_path / "s", path)


def test_questions_and_contexts_without_tokens_are_left_out(tmp_path: Path) -> None:
    some = [
        paragraph("\u200b\x01", question("a", "who?", ("ann", 0))),
        paragraph("ann", question("b", "\x01", ("ann", 0)), question("c", "who?", ("ann", 0))),
        paragraph("ann", question("d", " ", ("ann", 0))),
    ]
    info = make_store(tmp_path / "s", write_json(tmp_path / "a.json", squad(*some)))
    store = TokenStore.open(tmp_path / "s")
    assert [record.ids for record in store.records()] == [("c",)]
    assert gold_texts(store) == [("ann", "ann")]
    assert info.report["questions"] == 1
    assert info.report["texts_without_tokens"] == 5


def test_a_store_has_the_same_content_with_any_number_of_workers(tmp_path: Path) -> None:
    some = paragraphs(2500, seed=9)
    files = (
        write_json(tmp_path / "a.json", squad(*some)),
        write_lines(tmp_path / "b.jsonl", as_records(some[:1500])),
    )
    made = [make_store(tmp_path / f"s{n}", *files, workers=n) for n in (1, 2)]
    assert made[0] == made[1]
    assert len(made[0].shards) > 4
    found = gold_texts(TokenStore.open(tmp_path / "s2"))
    assert len(found) == made[0].report["questions"]
    assert all(text == answer for text, answer in found)


def test_another_layout_of_the_same_file_is_another_store(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", as_records(paragraphs(3, seed=1)))
    work = work_of(path)
    made = preprocess(work, tmp_path / "s", workers=1, fresh=False, report=lambda _: None)
    assert preprocess(work, tmp_path / "s", workers=1, fresh=False, report=print) == made
    write_lines(path, as_records(paragraphs(4, seed=1)))
    with pytest.raises(UserError, match="was made with another corpus"):
        preprocess(work_of(path), tmp_path / "s", workers=1, fresh=False, report=print)


def test_a_damaged_record_is_an_error(tmp_path: Path) -> None:
    make_store(tmp_path / "s", write_json(tmp_path / "a.json", squad(*paragraphs(3, seed=1))))
    shard = tmp_path / "s" / "shard-00000-000000.bin"
    data = bytearray(shard.read_bytes())
    data[-4:] = b"\xff\xff\xff\xff"
    shard.write_bytes(data)
    with pytest.raises(UserError, match="the records of its paragraphs are damaged"):
        list(TokenStore.open(tmp_path / "s").records())


def command(folder: Path, *overrides: str) -> list[str]:
    recipe = folder / "recipe.yaml"
    recipe.write_text(RECIPE, encoding="utf-8")
    tokenizer = (f"tokenizer.vocab={vocab()}", "tokenizer.size=null", "data.evaluation=null")
    return ["preprocess", str(recipe), *extracting(folder), *tokenizer, *overrides]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ((), "data.corpus: 1 question has no answer in its context, but objective.no_answer"),
        (
            ("objective.doc_stride=40", "objective.no_answer=true"),
            "data.sequence_length: 48 is too short: a question of objective.max_question_length = 8"
            " tokens, 3 special tokens and windows that share objective.doc_stride = 40 tokens need"
            " 52.",
        ),
        (
            ("objective.no_answer_threshold=1.0",),
            "no_answer_threshold is used only with no_answer: true",
        ),
        (("objective.no_answer=true",), ""),
    ],
)
def test_recipes_that_do_not_fit_the_questions_are_errors(
    tmp_path: Path,
    overrides: tuple[Any, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    some = paragraph(
        "ann is here",
        question("a", "who?", ("ann", 0)),
        question("b", "where?", is_impossible=True),
    )
    write_json(tmp_path / "train.json", squad(some))
    code = main(command(tmp_path, *overrides))
    found = capsys.readouterr()
    assert code == (EXIT_USER if message else EXIT_DONE), found.err
    assert message in found.err
    assert (tmp_path / "train").exists() == (not message)


GOLD = {"train": (2135, 3, 1), "dev": (302, 0, 0), "test": (294, 0, 0)}
"""Questions, answers that are elsewhere in their context than stated, answers inside a token."""


@pytest.mark.parametrize("split", GOLD)
def test_no_gold_answer_of_cmrc_2018_is_lost(tmp_path: Path, shared_data: Path, split: str) -> None:
    path = shared_data / "cmrc2018" / f"{split}.json"
    if not path.is_file():
        pytest.skip(f"{path} does not exist")
    words = shared_data / "vocab" / "google_zh_vocab.txt"
    tokenizer = WordPiece(type="wordpiece", vocab=str(words), lowercase=True)
    info = make_store(tmp_path / "s", path, tokenizer=tokenizer)
    names = ("questions", "answers_moved", "answers_inside_tokens")
    assert tuple(info.report[name] for name in names) == GOLD[split]
    assert info.report["answers_not_in_context"] == info.report["unanswerable_questions"] == 0
    store = TokenStore.open(tmp_path / "s")
    texts = gold_texts(store)
    assert len(texts) == GOLD[split][0]
    assert sum(text != answer for text, answer in texts) == GOLD[split][2]
    # "4个" of "34个", whose number is one token.
    assert all(answer in text for text, answer in texts)
    for columns, stride in ((256, 64), (512, 128)):
        windows = question_windows(
            Documents(store), columns=columns, stride=stride, max_question_length=64, specials=3
        )
        assert windows.left_out == {}
        found = windows.spans[:, 0] > 0
        assert np.unique(windows.questions[found]).size == len(texts)
