"""Paragraphs with questions for tests, in the form of SQuAD, and overrides that train on them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ptm.store.format import StoreInfo
from ptm.store.preprocess import Preprocessing, preprocess
from ptm.text.corpus import ReadOptions, find_corpus, recognise
from ptm.text.tokenizers import TokenizerConfig
from ptm.text.tokenizers.wordpiece import WordPiece
from tests.support.small_runs import vocab

TRAIN, DEV = 23, 17
"""Numbers of paragraphs: neither divides over two ranks."""
_WORDS = ("看书", "bobby", "在", "we", "天安门", "ann", "b3")
_NAMES = ("安", "书", "cat", "dog")


def squad(*paragraphs: Mapping[str, Any]) -> dict[str, Any]:
    """SQuAD's JSON of one article."""
    return {"version": "1.1", "data": [{"title": "t", "paragraphs": list(paragraphs)}]}


def paragraph(context: str, *qas: Mapping[str, Any]) -> dict[str, Any]:
    return {"context": context, "qas": list(qas)}


def question(
    name: str, text: str, *answers: tuple[str, int], is_impossible: bool | None = None
) -> dict[str, Any]:
    """A question with answers, each a text and its start."""
    found: dict[str, Any] = {"id": name, "question": text}
    found["answers"] = [{"text": answer, "answer_start": start} for answer, start in answers]
    return found if is_impossible is None else {**found, "is_impossible": is_impossible}


def paragraphs(count: int, *, seed: int, no_answer: bool = False) -> list[dict[str, Any]]:
    """Random paragraphs, in which the answer to "who is NAME" is the words after "NAME is".

    With `no_answer` some questions have none.
    """
    dice = np.random.default_rng(seed)
    found = []
    for number in range(count):
        names = dice.permutation(_NAMES).tolist()
        present = names[: int(dice.integers(1, 4))]
        context = ""
        answers: dict[str, tuple[str, int]] = {}
        for name in present:
            context += " ".join(dice.choice(_WORDS, int(dice.integers(1, 9)))) + f". {name} is "
            answer = " ".join(dice.choice(_WORDS, int(dice.integers(1, 4))))
            answers[name] = (answer, len(context))
            context += f"{answer}, "
        qas = [
            question(f"q{seed}-{number}-{name}", f"who is {name}", answers[name])
            for name in present
        ]
        if no_answer:
            qas = [{**one, "is_impossible": False} for one in qas]
            absent = names[-1]
            qas.append(
                question(f"q{seed}-{number}-{absent}", f"who is {absent}", is_impossible=True)
            )
        found.append(paragraph(context.strip(), *qas))
    return found


def as_records(some: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The questions of paragraphs as the records of Hugging Face's data sets."""
    return [
        {
            "id": one["id"],
            "context": entry["context"],
            "question": one["question"],
            "answers": {
                "text": [answer["text"] for answer in one["answers"]],
                "answer_start": [answer["answer_start"] for answer in one["answers"]],
            },
        }
        for entry in some
        for one in entry["qas"]
    ]


def write_json(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return path


def write_lines(path: Path, values: Sequence[object]) -> Path:
    lines = (json.dumps(value, ensure_ascii=False) + "\n" for value in values)
    path.write_text("".join(lines), encoding="utf-8")
    return path


def work_of(*paths: Path, tokenizer: TokenizerConfig | None = None) -> Preprocessing:
    """How the store of some files of questions is made."""
    return Preprocessing(
        corpus=recognise(find_corpus([str(path) for path in paths]), "questions", ReadOptions()),
        layout="questions",
        tokenizer=tokenizer or WordPiece(type="wordpiece", vocab=str(vocab())),
        segmenter=None,
    )


def make_store(
    store: Path, *paths: Path, tokenizer: TokenizerConfig | None = None, workers: int = 1
) -> StoreInfo:
    """Preprocess files of questions."""
    work = work_of(*paths, tokenizer=tokenizer)
    return preprocess(work, store, workers=workers, fresh=False, report=lambda _: None)


def write_stores(folder: Path, *, no_answer: bool = False) -> None:
    """Write the files and stores `train` and `dev` of random paragraphs."""
    for name, count, seed in (("train", TRAIN, 1), ("dev", DEV, 2)):
        some = squad(*paragraphs(count, seed=seed, no_answer=no_answer))
        make_store(folder / name, write_json(folder / f"{name}.json", some))


def extracting(folder: Path, options: str = "") -> tuple[str, ...]:
    """Overrides that train on the stores of `write_stores`, in rows with several windows each."""
    return (
        *(f"data.corpus={folder}/train.json", f"data.store={folder}/train"),
        *("data.layout=questions", "data.held_out=0", "data.sequence_length=48"),
        f"data.evaluation={{dev: {{corpus: {folder}/dev.json, store: {folder}/dev}}}}",
        "objective={type: extraction, doc_stride: 6, max_question_length: 8, "
        f"max_answer_length: 9{options}}}",
    )
