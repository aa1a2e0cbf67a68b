"""Small files and models under the names that the pages use; `setup` of the table copies them."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

LINES = {
    "book_review.txt": 500,
    "book_review_cls.txt": 300,
    "book_review/train.tsv": 300,
    "book_review/dev.tsv": 60,
    "book_review/test.tsv": 60,
    "CLUECorpusSmall_bert_sampled.txt": 1_000_000,
    "news-commentary-v13-en-zh_sampled.txt": 200,
    "msra_ner/train.tsv": 200,
    "msra_ner/dev.tsv": 21,
    "msra_ner/test.tsv": 21,
}
"""File of the shared data -> the number of its first lines that are kept."""

VOCABULARIES = (
    "google_zh_vocab.txt",
    "google_uncased_en_vocab.txt",
    "google_zh_with_sentinel_vocab.txt",
)
TINY = {
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 512,
}


def write_small_data(shared: Path, folder: Path) -> None:
    """Write the beginnings of the shared texts, vocabularies and two tiny BERTs to `folder`."""
    for name, count in LINES.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with (shared / name).open(encoding="utf-8") as source:
            target.write_text("".join(itertools.islice(source, count)), encoding="utf-8")
    for name in VOCABULARIES:
        shutil.copy(shared / "vocab" / name, folder / name)
    _write_questions(folder / "questions.json")
    _write_bert(folder / "bert-base-chinese", folder / "google_zh_vocab.txt")
    _write_bert(folder / "bert-base-uncased", folder / "google_uncased_en_vocab.txt")


def _write_questions(path: Path) -> None:
    """SQuAD 2.0's JSON with two questions about each of twelve sentences, one without answer."""
    cities = ("Paris", "Rome", "Oslo", "Lima", "Cairo", "Quito", "Bern", "Delhi", "Seoul", "Hanoi")
    paragraphs = [
        {
            "context": f"The train to {city} leaves at nine.",
            "qas": [
                {
                    "id": f"{city}-1",
                    "question": "Where does the train go?",
                    "is_impossible": False,
                    "answers": [{"text": city, "answer_start": 13}],
                },
                {
                    "id": f"{city}-2",
                    "question": "Who drives the train?",
                    "is_impossible": True,
                    "answers": [],
                },
            ],
        }
        for city in cities
    ]
    content = {"version": "v2.0", "data": [{"title": "Trains", "paragraphs": paragraphs}]}
    path.write_text(json.dumps(content), encoding="utf-8")


def _write_bert(folder: Path, vocab: Path) -> None:
    """A tiny BERT with random weights and the vocabulary of `vocab`, as transformers saves it."""
    import torch
    from transformers import BertConfig, BertForPreTraining

    torch.manual_seed(0)
    tokens = vocab.read_text(encoding="utf-8").count("\n")
    BertForPreTraining(BertConfig(vocab_size=tokens, **TINY)).save_pretrained(folder)
    shutil.copy(vocab, folder / "vocab.txt")
