"""A few rows of each fine-tuning task, in the format in which the task is distributed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

TEXTS = ("The book is good.", "A bird sings.", 'He reads "the book', "It rains, she says.")
CHINESE = ("这本书很好看", "天气不好", "我想借款", "怎么还款")


def _tsv(*lines: tuple[object, ...]) -> str:
    return "".join("\t".join(map(str, line)) + "\n" for line in lines)


def _json(*objects: Mapping[str, object]) -> str:
    return "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in objects)


def _sentiment() -> str:
    return _tsv(("label", "text_a"), *((n % 2, text) for n, text in enumerate(CHINESE)))


def _cola() -> str:
    return _tsv(*(("gj04", n % 2, "*" if n % 2 else "", text) for n, text in enumerate(TEXTS)))


def _pairs(header: tuple[str, ...], labels: tuple[object, ...], before: int) -> str:
    """Rows of `before` other columns, two sentences and the label, in the order of GLUE."""
    rows = [
        (*(f"{name}{n}" for name in header[:before]), TEXTS[n], TEXTS[n - 1], label)
        for n, label in enumerate(labels)
    ]
    return _tsv(header, *rows)


def _mnli(annotators: int) -> str:
    names = [f"label{number + 1}" for number in range(annotators)]
    columns = (
        *("index", "promptID", "pairID", "genre", "sentence1_binary_parse"),
        *("sentence2_binary_parse", "sentence1_parse", "sentence2_parse", "sentence1"),
        *("sentence2", *names, "gold_label"),
    )
    labels = ("neutral", "entailment", "contradiction", "neutral")
    rows = [
        (
            *(n, f"{n}n", f"{n}n", "fiction", "( a )", "( b )", "(ROOT a)", "(ROOT b)"),
            *(TEXTS[n], TEXTS[n - 1], *[label] * annotators, label),
        )
        for n, label in enumerate(labels)
    ]
    return _tsv(columns, *rows)


def _mrpc() -> str:
    header = ("Quality", "#1 ID", "#2 ID", "#1 String", "#2 String")
    rows = [(n % 2, 700 + n, 800 + n, TEXTS[n], TEXTS[n - 1]) for n in range(4)]
    return "\ufeff" + _tsv(header, *rows)


def _stsb() -> str:
    header = ("index", "genre", "filename", "year", "old_index", "source1", "source2")
    names = (*header, "sentence1", "sentence2", "score")
    return _pairs(names, ("5.000", "0.25", "3.8", "1.600"), 7)


def _tnews() -> str:
    labels = (100, 101, 102, 103, 104, 106, 107, 108, 109, 110, 112, 113, 114, 115, 116)
    return _json(
        *(
            {"label": str(n), "label_desc": "news", "sentence": CHINESE[n % 4], "keywords": "书,看"}
            for n in labels
        )
    )


def _afqmc() -> str:
    return _json(
        *(
            {"sentence1": CHINESE[n], "sentence2": CHINESE[n - 1], "label": str(n % 2)}
            for n in range(4)
        )
    )


def _ocnli() -> str:
    labels = ("neutral", "entailment", "contradiction", "-")
    return _json(
        *(
            {
                "level": "easy",
                "sentence1": CHINESE[n],
                "sentence2": CHINESE[n - 1],
                "label": label,
                "label0": label,
                "genre": "news",
                "prem_id": f"n{n}",
                "id": n,
            }
            for n, label in enumerate(labels)
        )
    )


def _lcqmc() -> str:
    rows = [(CHINESE[n], CHINESE[n - 1], n % 2) for n in range(4)]
    return _tsv(("text_a", "text_b", "label"), *rows)


_ENTAILED = ("entailment", "not_entailment") * 2
_INDEXED = ("index", "sentence1", "sentence2", "label")
_QQP = ("id", "qid1", "qid2", "question1", "question2", "is_duplicate")
_SENTENCES = _tsv(("sentence", "label"), *((text, n % 2) for n, text in enumerate(TEXTS)))

FILES: dict[str, dict[str, str]] = {
    "chnsenticorp": dict.fromkeys(("train.tsv", "dev.tsv", "test.tsv"), _sentiment()),
    "book_review": dict.fromkeys(("train.tsv", "dev.tsv", "test.tsv"), _sentiment()),
    "lcqmc": dict.fromkeys(("train.tsv", "dev.tsv", "test.tsv"), _lcqmc()),
    "tnews": dict.fromkeys(("train.json", "dev.json"), _tnews()),
    "afqmc": dict.fromkeys(("train.json", "dev.json"), _afqmc()),
    "ocnli": dict.fromkeys(("train.50k.json", "dev.json"), _ocnli()),
    "CoLA": dict.fromkeys(("train.tsv", "dev.tsv"), _cola()),
    "SST-2": dict.fromkeys(("train.tsv", "dev.tsv"), _SENTENCES),
    "MRPC": dict.fromkeys(("train.tsv", "dev.tsv"), _mrpc()),
    "QQP": dict.fromkeys(("train.tsv", "dev.tsv"), _pairs(_QQP, (0, 1, 0, 1), 3)),
    "MNLI": {
        "train.tsv": _mnli(1),
        "dev_matched.tsv": _mnli(5),
        "dev_mismatched.tsv": _mnli(5),
    },
    "QNLI": dict.fromkeys(
        ("train.tsv", "dev.tsv"), _pairs(("index", "question", "sentence", "label"), _ENTAILED, 1)
    ),
    "RTE": dict.fromkeys(("train.tsv", "dev.tsv"), _pairs(_INDEXED, _ENTAILED, 1)),
    "WNLI": dict.fromkeys(("train.tsv", "dev.tsv"), _pairs(_INDEXED, (0, 1, 0, 1), 1)),
    "STS-B": dict.fromkeys(("train.tsv", "dev.tsv"), _stsb()),
    "simcse": {"wiki1m_for_simcse.txt": "".join(f"{text}\n" for text in TEXTS) * 10},
    "msmarco": {
        "triples.train.small.tsv": _tsv(*((f"q {n}?", f"p {n}", f"n {n}") for n in range(40)))
    },
    "cmrc2018": dict.fromkeys(
        ("train.tsv", "dev.tsv", "test.tsv"),
        _tsv(*((CHINESE[n], CHINESE[n - 1]) for n in range(4))),
    ),
}
"""Folder of a task below `corpora` -> its files."""


def _articles(*paragraphs: Mapping[str, object], version: str) -> str:
    return json.dumps({"version": version, "data": [{"title": "t", "paragraphs": paragraphs}]})


def _squad(version: str, *impossible: Mapping[str, object]) -> str:
    """A paragraph of SQuAD; the questions of version 2.0 say whether they can be answered."""
    second = version == "v2.0"
    say = {"is_impossible": False} if second else {}
    answers = [{"text": "a bird", "answer_start": 18}]
    qas = [{"question": "What sings?", "id": "56be1", "answers": answers, **say}, *impossible]
    return _articles({"context": "The book is good. a bird sings.", "qas": qas}, version=version)


_IMPOSSIBLE = {
    "plausible_answers": [{"text": "The book", "answer_start": 0}],
    "question": "Who reads?",
    "id": "5ad3",
    "answers": [],
    "is_impossible": True,
}


def _cmrc(answer: str) -> str:
    context = "这本书很好看，天气不好。"
    answers = [{"text": answer, "answer_start": context.find(answer)}] * 3
    qas = [{"question": "什么好看？", "id": "DEV_0_QUERY_0", "answers": answers}]
    return _articles({"id": "DEV_0", "context": context, "qas": qas}, version="v1.0")


def _drcd() -> str:
    answers = [{"id": "1", "text": "書", "answer_start": 2}]
    qas = [{"id": "1001-10-1", "question": "什麼好看？", "answers": answers}]
    return _articles({"id": "1001-10", "context": "這本書很好看", "qas": qas}, version="1.3")


QUESTIONS: dict[str, dict[str, str]] = {
    "SQuAD": {
        **dict.fromkeys(("train-v1.1.json", "dev-v1.1.json"), _squad("1.1")),
        **dict.fromkeys(("train-v2.0.json", "dev-v2.0.json"), _squad("v2.0", _IMPOSSIBLE)),
    },
    "cmrc2018": {f"{name}.json": _cmrc("这本书") for name in ("train", "dev", "test")},
    "DRCD": {f"DRCD_{name}.json": _drcd() for name in ("training", "dev", "test")},
}
"""Folder of a task of questions below `corpora` -> its files."""


def write_rows(folder: Path) -> None:
    """Write the files of all tasks below `folder`/corpora, where the recipes expect them."""
    for task, files in (FILES | QUESTIONS).items():
        for name, text in files.items():
            path = folder / "corpora" / task / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
