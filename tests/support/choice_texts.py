"""Questions with choices for tests, in the forms of C3 and RACE, and their stores."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ptm.store.format import StoreInfo
from ptm.store.preprocess import Preprocessing, preprocess
from ptm.text.corpus import ReadOptions, find_corpus, recognise
from ptm.text.tokenizers import TokenizerConfig
from ptm.text.tokenizers.wordpiece import WordPiece
from tests.support.small_runs import QUICKSTART, vocab

TRAIN, DEV = 45, 23
"""Numbers of questions: neither divides over two ranks."""


@dataclass(frozen=True)
class Question:
    """A question about some lines, with its choices and the number of the right one."""

    lines: tuple[str, ...]
    text: str
    choices: tuple[str, ...]
    answer: int


def questions(count: int, *, first: int) -> list[Question]:
    """Questions of two to four choices: what the first line begins with."""
    lines = (QUICKSTART / "corpus" / "chinese.txt").read_text(encoding="utf-8").splitlines()
    dice = random.Random(first)
    found = []
    for number in range(first, first + count):
        right = lines[number][:5]
        others = {lines[(number * 7 + 3 * step) % len(lines)][:6] for step in range(1, 8)}
        choices = [right, *sorted(others - {right})[: 1 + number % 3]]
        dice.shuffle(choices)
        context = (lines[number], lines[number + 1])
        found.append(Question(context, "怎么开始？", tuple(choices), choices.index(right)))
    return found


def c3(some: Sequence[Question]) -> str:
    """The JSON of C3."""
    entries = [
        [
            list(one.lines),
            [
                {
                    "question": one.text,
                    "choice": list(one.choices),
                    "answer": one.choices[one.answer],
                }
            ],
            f"1-{number}",
        ]
        for number, one in enumerate(some)
    ]
    return json.dumps(entries, ensure_ascii=False, indent=2)


def race(one: Question, *more: Question) -> str:
    """The JSON of a file of RACE: several questions about one article."""
    every = (one, *more)
    return json.dumps(
        {
            "answers": ["ABCD"[each.answer] for each in every],
            "options": [list(each.choices) for each in every],
            "questions": [each.text for each in every],
            "article": "\n".join(one.lines),
            "id": "high1.txt",
        }
    )


def make_store(
    store: Path, *paths: Path, tokenizer: TokenizerConfig | None = None, workers: int = 1
) -> StoreInfo:
    """Preprocess files of questions."""
    work = Preprocessing(
        corpus=recognise(find_corpus([str(path) for path in paths]), "choices", ReadOptions()),
        layout="choices",
        tokenizer=tokenizer or WordPiece(type="wordpiece", vocab=str(vocab())),
        segmenter=None,
    )
    return preprocess(work, store, workers=workers, fresh=False, report=lambda _: None)


def write_stores(folder: Path) -> None:
    """Write train.json and dev.json in the form of C3, and their stores."""
    for name, count, first in (("choice-train", TRAIN, 0), ("choice-dev", DEV, TRAIN)):
        (folder / f"{name}.json").write_text(c3(questions(count, first=first)), encoding="utf-8")
        make_store(folder / name, folder / f"{name}.json")


def choosing(folder: Path) -> tuple[str, ...]:
    """Overrides of a training on the stores of `write_stores`."""
    dev = f"corpus: {folder}/choice-dev.json, store: {folder}/choice-dev"
    return (
        *("objective={type: choice}", "data.layout=choices", "data.held_out=0"),
        f"data.corpus={folder}/choice-train.json",
        f"data.store={folder}/choice-train",
        f"data.evaluation={{dev: {{{dev}}}}}",
    )
