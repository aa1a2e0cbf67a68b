"""Trainings of recipes on the bundled text: corpora of all layouts, tokenizers, short runs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import yaml

from ptm.cli import main
from tests.conftest import Bundled, sentences_of
from tests.support.launched import Training
from tests.support.small_runs import PROJECT

TRAINED = {"sentencepiece": "unigram"}
"""Tokenizer type -> `ptm vocab train --type`, where they differ."""


@dataclass(frozen=True)
class Files:
    """Input files of the recipes, made from the bundled text on first use."""

    folder: Path

    def tokenizer(self, kind: str, *, key: str = "tokenizer") -> tuple[str, ...]:
        """Return overrides with the files of a tokenizer and its size."""
        made = self.folder / kind
        if kind != "wordpiece" and not made.exists():
            corpus = str(self.folder / "documents.txt")
            options = ["--type", TRAINED.get(kind, kind), "--size", "1200", "--out", str(made)]
            assert main(["vocab", "train", corpus, *options]) == 0
        files = {
            "wordpiece": {"vocab": self.folder / "wordpiece.txt"},
            "space": {"vocab": made / "vocab.txt"},
            "bpe": {"vocab": made / "vocab.json", "merges": made / "merges.txt"},
            "sentencepiece": {"model": made / "sentencepiece.model"},
        }[kind]
        return (*(f"{key}.{name}={path}" for name, path in files.items()), f"{key}.size=null")

    def overrides(self, recipe: Path) -> tuple[str, ...]:
        """Return overrides for the paths that a recipe leaves open and for a short training."""
        settings = yaml.safe_load(recipe.read_text(encoding="utf-8"))
        kind, layout = settings["tokenizer"]["type"], settings["data"]["layout"]
        words = "words" if "segmenter" in settings["data"] else "plain"
        split = "split" if settings["data"].get("sentence_splitting") else "whole"
        sides = "two" if "target_tokenizer" in settings else "one"
        ids = settings["tokenizer"].get("ids", "file")
        found = [
            *self.tokenizer(kind),
            f"data.corpus={self.folder / layout}.txt",
            f"data.store={self.folder / f'{kind}-{ids}-{layout}-{words}-{split}-{sides}'}",
            *("data.sequence_length=64", "train.global_batch_size=8", "train.micro_batch_size=4"),
            # Rounding differences grow with the learning rate, at ReLU's kinks in particular.
            "optimizer.learning_rate=1.0e-4",
            *("data.held_out=0.02", "tracking.log_every=1", "checkpoint.every=100"),
        ]
        if words == "words":
            found.append("data.segmenter={type: rjieba}")
        if "target_tokenizer" in settings:
            found += self.tokenizer(settings["target_tokenizer"]["type"], key="target_tokenizer")
        if "decoder" in settings["model"]:
            found.append("data.target_sequence_length=64")
        masking = settings["objective"].get("masking", {})
        for key in ("lexicon", "entities"):
            if key in masking:
                found.append(f"objective.masking.{key}={PROJECT / masking[key]}")
        return tuple(found)

    def preprocess(self, recipe: Path) -> None:
        """Make the store that a recipe reads, unless another recipe has made it."""
        overrides = self.overrides(recipe)
        store = next(word for word in overrides if word.startswith("data.store="))
        if not Path(store.partition("=")[2]).exists():
            assert main(["preprocess", str(recipe), *overrides]) == 0


@dataclass(frozen=True)
class Tiny(Training):
    """Training of a tiny recipe of the project on the bundled text."""

    recipe: Path = Path()
    files: Files | None = None
    teacher: Path = Path()

    def arguments(self, store: Path, runs: Path, *, rank: int = 0) -> list[str]:
        """Return the arguments; also make the store that the recipe trains on."""
        assert self.files is not None, "made by `trainings`"
        given = [*self.files.overrides(self.recipe), *self.overrides]
        if self.name.startswith("distil"):
            start = f"init_from={{source: {self.teacher}, every: 2}}"
            given += [f"objective.teacher={self.teacher}", start]
        else:
            self.files.preprocess(self.recipe)
        return [str(self.recipe), f"name={self.name}", f"runs_dir={runs}", *given]


def bundled_files(bundled: Bundled, folder: Path) -> Files:
    """Write the bundled text to `folder` as corpora of all layouts."""
    made = Files(folder)
    sentinels = "".join(f"<extra_id_{number}>\n" for number in range(32))
    words = bundled.vocab.read_text(encoding="utf-8") + sentinels
    (made.folder / "wordpiece.txt").write_text(words, encoding="utf-8")
    lines = [
        line for file in bundled.corpus for line in file.read_text(encoding="utf-8").splitlines()
    ]
    # Every fifth line is enough to train on. In layout `sentences`, six lines make a document.
    chosen = lines[::5]
    joined = ["".join(chosen[at : at + 6]) for at in range(0, len(chosen), 6)]
    halves = [
        (document[: len(document) // 2], document[len(document) // 2 :]) for document in chosen
    ]
    texts = {
        "documents": "\n".join(chosen),
        "pairs": "\n".join(f"{source}\t{target}" for source, target in halves),
        "sentences": "\n\n".join("\n".join(sentences_of(document)) for document in joined),
    }
    texts["labelled"] = "\n".join(f"{number % 2}\t{text}" for number, text in enumerate(chosen))
    # Every third character is an entity of one of two types.
    tags = [("B-A", "O", "O", "B-B", "O", "O")[number % 6] for number in range(40)]
    spaced = [" ".join(text[:40].replace(" ", "")) for text in chosen]
    texts["tagged"] = "\n".join(
        f"{words}\t{' '.join(tags[: words.count(' ') + 1])}" for words in spaced
    )
    texts["triplets"] = "\n".join(
        f"{source}\t{target}\t{other}"
        for (source, target), (_, other) in zip(halves, reversed(halves), strict=True)
        if target != other
    )
    # The answer to each question is the second quarter of the context.
    quarters = [(text, text[len(text) // 4 : len(text) // 2].strip()) for text in chosen]
    texts["questions"] = "\n".join(
        json.dumps(
            {
                "id": str(number),
                "context": text,
                "question": text[:12],
                "answers": {"text": [answer], "answer_start": [text.index(answer)]},
            }
        )
        for number, (text, answer) in enumerate(quarters)
        if answer
    )
    texts["choices"] = "\n".join(
        json.dumps(
            {"context": text, "question": text[:12], "choices": [answer, "no", "yes"], "label": 0}
        )
        for text, answer in quarters
        if answer not in ("", "no", "yes")
    )
    for layout, text in texts.items():
        (made.folder / f"{layout}.txt").write_text(text + "\n", encoding="utf-8")
    return made
