"""Test that each tiny family learns from real text, and learns nothing from shuffled targets.

python benchmarks/learning.py FOLDER RECIPE... [--shuffled | --shuffled-words] [KEY=VALUE ...]

Preprocesses and trains each RECIPE in its own process, with the same overrides (corpus, vocabulary,
steps), and prints one row per recipe with these columns:

- steps, tokens
- start, end: loss of masked or next tokens (without label smoothing; in ELMo the mean of both
  directions) in the first and last report
- entropy: that of the targets' frequencies, in nats per target, which is the loss of a model that
  knows the frequencies only
- text alone: the loss of a model that knows all special tokens (also sentinels), and the
  frequencies of the other tokens
- accuracies at the end; most frequent: the accuracy of always predicting the most frequent target
- held out: for next tokens, loss, perplexity, the loss of a model that knows only the frequencies
  of the training targets (add-one smoothing), and accuracy; for pairs, accuracy with its binomial
  standard error, the number of pairs, and the accuracy of always predicting the more frequent label
- seconds

With --shuffled, in training and in evaluation, each predicted position gets the target of another
one, and each pair a random label, so that a model can learn frequencies only. For objectives with
targets at every token, a permutation of a row's targets would still let the model copy from the
row, as the row contains its targets. So each target is a random draw from the frequencies of all
targets of an epoch, and the input tokens are unchanged.

With --shuffled-words, the words of each line of the corpus (Chinese characters, and whatever stands
between spaces) are put in random order, in training and in evaluation, so that a model can learn
frequencies and which words a document repeats, but no order.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

COLUMNS = (
    "steps",
    "tokens",
    "start",
    "end",
    "entropy",
    "text alone",
    "accuracies",
    "most frequent",
    "held out",
    "seconds",
)
LOSSES = ("lm_nll", "lm_loss", "mlm_loss")
"""Metrics that are a cross entropy of tokens, in nats; the first one of an objective is printed."""
ROWS_TOGETHER = 256
WORD = re.compile(r"[\u4e00-\u9fff]|[^\s\u4e00-\u9fff]+")


@dataclass(frozen=True)
class Frequencies:
    """Count of each token as a target, (V,), and the ids of tokens that are not special, (N,)."""

    counts: NDArray[np.int64]
    ordinary: NDArray[np.int64]

    @property
    def shares(self) -> NDArray[np.float64]:
        """(V,): the share of each token among all targets."""
        return self.counts / self.counts.sum()

    @property
    def entropy(self) -> float:
        """Nats per target of a model that knows the frequencies only."""
        return float(-_xlogx(self.shares).sum())

    @property
    def text_entropy(self) -> float:
        """Nats per target of a model that also knows where special tokens are, and which."""
        shares = self.shares[self.ordinary]
        return float(-_xlogx(shares).sum() + _xlogx(shares.sum()))

    @property
    def most(self) -> float:
        """The share of the most frequent target."""
        return float(self.shares.max())

    def loss_on(self, others: Frequencies) -> float:
        """Nats per target of `others` under these frequencies, with add-one smoothing."""
        smoothed = (self.counts + 1) / (self.counts + 1).sum()
        return float(-(others.shares * np.log(smoothed)).sum())


def _xlogx(shares: Any) -> Any:
    return shares * np.log(np.where(shares > 0, shares, 1.0))


def frequencies(recipe: Any, tokenizer: Any, *, split: str) -> Frequencies:
    """Frequencies of all targets of the first epoch of a split.

    For masked language models, the tokens of the whole store are counted instead, from which masked
    tokens are selected; special tokens and the unknown token are never mparsed.
    """
    from ptm.loading.rows import open_rows
    from ptm.loading.stores import vocabularies_of
    from ptm.store.reader import TokenStore

    vocabulary = vocabularies_of(recipe, tokenizer).target
    if "target_weights" not in recipe.objective.targets:
        store = TokenStore.open(Path(recipe.data.store))
        tokens = store.tokens(*store.document_ranges)
        counts = np.zeros(vocabulary.size, dtype=np.int64)
        ordinary = vocabulary.ordinary_ids
        counts[ordinary] = np.bincount(tokens, minlength=vocabulary.size)[ordinary]
        return Frequencies(counts, ordinary)
    rows = open_rows(recipe, tokenizer, split=split)
    counts = np.zeros(vocabulary.size, dtype=np.int64)
    for first in range(0, len(rows), ROWS_TOGETHER):
        chosen = np.arange(first, min(first + ROWS_TOGETHER, len(rows)), dtype=np.int64)
        tensors = rows.micro_batch(chosen, np.zeros_like(chosen)).tensors
        for _, name in recipe.objective.view.targets:
            targets = tensors[name][tensors["target_weights"] > 0]
            counts += np.bincount(targets, minlength=vocabulary.size)
    return Frequencies(counts, vocabulary.ordinary_ids)


def shuffle_targets(objective: Any, found: Frequencies) -> None:
    """Patch `objective.collate` so that targets keep their frequencies but lose their meaning."""
    original = objective.collate

    def collate(self: Any, *arguments: Any, **options: Any) -> Any:
        batch = original(self, *arguments, **options)
        tensors = batch.tensors
        names = [name for _, name in self.view.targets] or ["predicted_ids"]
        dice = np.random.default_rng(int(tensors[names[0]].sum()))
        if "target_weights" in tensors:
            counted = tensors["target_weights"] > 0
            for name in names:
                tensors[name][counted] = dice.choice(
                    found.shares.size, int(counted.sum()), p=found.shares
                )
            return batch
        targets = tensors["predicted_ids"]
        count = batch.counts["predicted"]
        targets[:count] = dice.permutation(targets[:count])
        if "pair_labels" in tensors:
            labels = tensors["pair_labels"]
            labels[:] = dice.integers(0, 2, labels.shape)
        return batch

    objective.collate = collate


def shuffle_words(corpus: Path, out: Path) -> None:
    """Write the lines of `corpus` to `out`, each with its words in random order."""
    dice = np.random.default_rng(7)
    with corpus.open(encoding="utf-8") as lines, out.open("w", encoding="utf-8") as written:
        for line in lines:
            words = WORD.findall(line)
            written.write(" ".join(words[at] for at in dice.permutation(len(words))) + "\n")


def held_out_tokens(
    records: list[dict[str, Any]],
    known: Frequencies,
    held_out: dict[str, Frequencies],
    *,
    shuffled: bool,
) -> str:
    """The last evaluation of next tokens on each evaluation set, as text."""
    found = []
    for name, targets in held_out.items():
        alone = known.entropy if shuffled else known.loss_on(targets)
        last = next(one for one in reversed(records) if one["split"] == name)
        hits = ", ".join(f"{key} {last[key]:.3f}" for key in last if key.endswith("accuracy"))
        found.append(
            f"{last[term_of(last)]:.2f} (perplexity {last['perplexity']:.0f}; frequencies alone "
            f"{alone:.2f}), {hits} ({targets.counts.sum():,} targets)"
        )
    return ", ".join(found)


def term_of(record: dict[str, Any]) -> str:
    """Name of the token loss in a record."""
    return next(name for name in LOSSES if name in record)


def held_out_pairs(recipe: Any, tokenizer: Any, records: list[dict[str, Any]]) -> str:
    """Accuracy of the last evaluation of pairs on each set: value ± standard error (…)."""
    from ptm.loading.rows import open_rows

    found = []
    for name in recipe.data.evaluation_names:
        last = next((one for one in reversed(records) if one["split"] == name), {})
        for key in ("nsp_accuracy", "sop_accuracy"):
            if key in last:
                labels = open_rows(recipe, tokenizer, split=name).indexes.at(0).examples.labels
                pairs, value = len(labels), last[key]
                error = math.sqrt(value * (1 - value) / pairs)
                most = np.bincount(labels).max() / pairs
                found.append(f"{key} {value:.3f} ± {error:.3f} ({pairs:,}, always one: {most:.3f})")
    return ", ".join(found)


def learn(recipe_path: str, folder: Path, overrides: list[str], *, shuffled: bool) -> None:
    """Run one training, and write its row of the table to FOLDER/NAME.json."""
    from ptm.cli import main
    from ptm.loading.rows import TRAIN
    from ptm.recipe import load_recipe

    name = f"{Path(recipe_path).parent.name}-{Path(recipe_path).stem}"
    ours = [f"name={name}", f"runs_dir={folder}", f"data.store={folder / name}-store", *overrides]
    recipe = load_recipe(recipe_path, ours)
    assert main(["preprocess", recipe_path, *ours]) == 0
    tokenizer = recipe.tokenizer.load()
    known = frequencies(recipe, tokenizer, split=TRAIN)
    names = recipe.data.evaluation_names if "target_weights" in recipe.objective.targets else ()
    held_out = {one: frequencies(recipe, tokenizer, split=one) for one in names}
    if shuffled:
        shuffle_targets(type(recipe.objective), known)
    began = time.perf_counter()
    assert main(["train", recipe_path, *ours]) == 0
    seconds = time.perf_counter() - began
    lines = (folder / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    training = [record for record in records if record["split"] == "train"]
    first, last = training[0], training[-1]
    pairs = held_out_pairs(recipe, tokenizer, records)
    row = {
        "recipe": recipe_path,
        "steps": last["step"],
        "tokens": last["tokens"],
        "start": round(first[term_of(first)], 3),
        "end": round(last[term_of(last)], 3),
        "entropy": round(known.entropy, 3),
        "text alone": round(known.text_entropy, 3),
        "accuracies": {key: round(last[key], 3) for key in last if key.endswith("accuracy")},
        "most frequent": round(known.most, 3),
        "held out": pairs or held_out_tokens(records, known, held_out, shuffled=shuffled),
        "seconds": round(seconds),
    }
    (folder / f"{name}.json").write_text(json.dumps(row), encoding="utf-8")


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("words", nargs="+", metavar="RECIPE or KEY=VALUE")
    control = parser.add_mutually_exclusive_group()
    control.add_argument("--shuffled", action="store_true")
    control.add_argument("--shuffled-words", action="store_true")
    parser.add_argument("--one", action="store_true", help="train one recipe in this process")
    parsed = parser.parse_args(words)
    parsed.folder.mkdir(parents=True, exist_ok=True)
    recipes = [word for word in parsed.words if word.endswith(".yaml")]
    overrides = [word for word in parsed.words if "=" in word]
    if parsed.shuffled_words:
        corpus = next(one for one in overrides if one.startswith("data.corpus="))
        shuffled = parsed.folder / "shuffled-words.txt"
        shuffle_words(Path(corpus.partition("=")[2]), shuffled)
        overrides = [f"data.corpus={shuffled}" if one == corpus else one for one in overrides]
    if parsed.one:
        learn(recipes[0], parsed.folder, overrides, shuffled=parsed.shuffled)
        return 0
    print(f"| recipe | {' | '.join(COLUMNS)} |\n|{'---|' * (len(COLUMNS) + 1)}", flush=True)
    for recipe in recipes:
        flags = ["--one", *(["--shuffled"] if parsed.shuffled else [])]
        command = [sys.executable, __file__, str(parsed.folder), recipe, *overrides, *flags]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        name = f"{Path(recipe).parent.name}-{Path(recipe).stem}"
        row = json.loads((parsed.folder / f"{name}.json").read_text(encoding="utf-8"))
        shown = {**row, "tokens": f"{row['tokens']:,}"}
        shown["accuracies"] = ", ".join(f"{k} {v}" for k, v in row["accuracies"].items())
        cells = " | ".join(str(shown[column]) for column in COLUMNS)
        print(f"| {Path(recipe).parent.name}/{Path(recipe).stem} | {cells} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
