"""What each tiny family learns from real text, and that it learns nothing from shuffled targets.

python benchmarks/learning.py FOLDER RECIPE... [--shuffled] [KEY=VALUE ...]

Preprocesses and trains every RECIPE with the same overrides (its corpus, vocabulary, steps), each
in a process of its own, and prints one row a recipe: steps, tokens, the masked loss of the first
and of the last report beside the entropy of single tokens (nats; what knowing nothing but
frequencies gives), the accuracies at the end, those of pairs on held-out documents (with the
binomial standard error, the number of pairs, and what always saying the more frequent label would
give), seconds. With --shuffled, every predicted position gets the target of another, and every pair
a label drawn anew, in training and in evaluation: only frequencies can be learnt.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

COLUMNS = ("steps", "tokens", "start", "end", "entropy", "accuracies", "held out", "seconds")


def unigram_entropy(store: Path, ordinary: Any) -> float:
    """Nats a token, of a model that knows nothing but how frequent each of the `ordinary` ids is.

    Special ones, the unknown token among them, are never predicted.
    """
    from ptm.data.store import TokenStore

    opened = TokenStore.open(store)
    starts, lengths = opened.document_ranges
    counts = np.bincount(opened.tokens(starts, lengths), minlength=ordinary.max() + 1)[ordinary]
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def shuffle_targets(objective: Any) -> None:
    """Frequencies of targets stay, their meaning goes."""
    original = objective.collate

    def collate(self: Any, *arguments: Any, **options: Any) -> Any:
        batch = original(self, *arguments, **options)
        targets, count = batch.tensors["predicted_ids"], batch.counts["predicted"]
        dice = np.random.default_rng(int(targets.sum()))
        targets[:count] = dice.permutation(targets[:count])
        if "pair_labels" in batch.tensors:
            labels = batch.tensors["pair_labels"]
            labels[:] = dice.integers(0, 2, labels.shape)
        return batch

    objective.collate = collate


def held_out_pairs(recipe: Any, tokenizer: Any, records: list[dict[str, Any]]) -> str:
    """Accuracy of the last evaluation of pairs, of each set: value ± standard error (…)."""
    from ptm.train.rows import open_rows

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
    """One training; its row as JSON in FOLDER/NAME.json."""
    from ptm.cli import main
    from ptm.recipe import load_recipe

    name = f"{Path(recipe_path).parent.name}-{Path(recipe_path).stem}"
    ours = [f"name={name}", f"runs_dir={folder}", f"data.store={folder / name}-store", *overrides]
    recipe = load_recipe(recipe_path, ours)
    if shuffled:
        shuffle_targets(type(recipe.objective))
    assert main(["preprocess", recipe_path, *ours]) == 0
    began = time.perf_counter()
    assert main(["train", recipe_path, *ours]) == 0
    seconds = time.perf_counter() - began
    lines = (folder / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    training = [record for record in records if record["split"] == "train"]
    first, last = training[0], training[-1]
    tokenizer = recipe.tokenizer.load()
    ordinary = tokenizer.vocabulary.ordinary_ids
    accuracies = {key: round(last[key], 3) for key in last if key.endswith("accuracy")}
    row = {
        "recipe": recipe_path,
        "steps": last["step"],
        "tokens": last["tokens"],
        "start": round(first["mlm_loss"], 3),
        "end": round(last["mlm_loss"], 3),
        "entropy": round(unigram_entropy(Path(recipe.data.store), ordinary), 3),
        "accuracies": accuracies,
        "held out": held_out_pairs(recipe, tokenizer, records),
        "seconds": round(seconds),
    }
    (folder / f"{name}.json").write_text(json.dumps(row), encoding="utf-8")


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("words", nargs="+", metavar="RECIPE or KEY=VALUE")
    parser.add_argument("--shuffled", action="store_true")
    parser.add_argument("--one", action="store_true", help="in this process")
    asked = parser.parse_args(words)
    asked.folder.mkdir(parents=True, exist_ok=True)
    recipes = [word for word in asked.words if word.endswith(".yaml")]
    overrides = [word for word in asked.words if "=" in word]
    if asked.one:
        learn(recipes[0], asked.folder, overrides, shuffled=asked.shuffled)
        return 0
    print(f"| recipe | {' | '.join(COLUMNS)} |\n|{'---|' * (len(COLUMNS) + 1)}", flush=True)
    for recipe in recipes:
        flags = ["--one", *(["--shuffled"] if asked.shuffled else [])]
        command = [sys.executable, __file__, str(asked.folder), recipe, *overrides, *flags]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        name = f"{Path(recipe).parent.name}-{Path(recipe).stem}"
        row = json.loads((asked.folder / f"{name}.json").read_text(encoding="utf-8"))
        shown = {**row, "tokens": f"{row['tokens']:,}"}
        shown["accuracies"] = ", ".join(f"{k} {v}" for k, v in row["accuracies"].items())
        cells = " | ".join(str(shown[column]) for column in COLUMNS)
        print(f"| {Path(recipe).parent.name}/{Path(recipe).stem} | {cells} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
