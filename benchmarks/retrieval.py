"""Find the paragraph of a question: CMRC 2018, a small encoder trained here, and BM25 beside it.

python -m benchmarks.retrieval pairs DATA FOLDER
python -m benchmarks.retrieval train FOLDER VOCAB POOLING [SEED ...]
python -m benchmarks.retrieval bm25 FOLDER
python -m benchmarks.retrieval translations CORPUS FOLDER
python -m benchmarks.retrieval minilm FOLDER MODEL [KEY=VALUE ...]

DATA has train.json, dev.json and test.json in SQuAD's format. `pairs` writes a line
question<TAB>paragraph per question to train.tsv, dev.tsv and test.tsv in FOLDER, and all paragraphs
to paragraphs.txt. `train` pretrains a small encoder on the paragraphs of all three (masked tokens),
fine-tunes it on the questions of train.tsv, and prints how often the paragraph of a question of
test.tsv is among the first ones of all paragraphs: for the encoder with random weights, after the
pretraining, and fine-tuned. `bm25` prints the same for BM25 over characters and pairs of them.

CORPUS has a line source<TAB>target per pair of sentences. `translations` writes the last 100 to
test.tsv in FOLDER and all others to train.tsv. `minilm` fine-tunes the sentence-transformers model
in the folder MODEL on them, and prints recall@1 on the 100 pairs before and after.
"""

from __future__ import annotations

import json
import math
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

RECIPES = Path(__file__).parents[1] / "recipes"
HELD_OUT = 100
SHOWN = ("recall@1", "recall@10", "mrr", "ndcg@10")
SIZE = (
    *("model.encoder.layers=2", "model.encoder.hidden_size=128", "model.encoder.heads=2"),
    *("model.encoder.feed_forward_size=512", "model.embedding.positions=256"),
    *("data.sequence_length=256", "tokenizer.size=null", "engine.deepspeed=zero0"),
)


def command(*words: str) -> None:
    """Run `ptm`, in a process of its own."""
    subprocess.run([sys.executable, "-m", "ptm", *words], check=True)


def cpu_seconds() -> float:
    """The CPU time of this process and of the processes that it ran."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + used.ru_utime + used.ru_stime


def write_pairs(data: Path, folder: Path) -> None:
    """Write the questions and paragraphs of each part of the data set."""
    folder.mkdir(parents=True, exist_ok=True)
    paragraphs: dict[str, None] = {}
    for name in ("train", "dev", "test"):
        content = json.loads((data / f"{name}.json").read_text(encoding="utf-8"))
        lines = []
        for article in content["data"]:
            for paragraph in article["paragraphs"]:
                text = " ".join(paragraph["context"].split())
                paragraphs[text] = None
                for one in paragraph["qas"]:
                    lines.append(f"{' '.join(one['question'].split())}\t{text}")
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        print(f"{name}: {len(lines):,} questions")
    (folder / "paragraphs.txt").write_text("\n".join(paragraphs) + "\n", encoding="utf-8")
    print(f"{len(paragraphs):,} paragraphs")


def pairs_of(path: Path) -> list[tuple[str, str]]:
    """The pairs of a file, one per line."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        first, second = line.split("\t")
        found.append((first, second))
    return found


def scores_of(vectors: Any, pairs: Sequence[tuple[str, str]], candidates: Sequence[str]) -> Any:
    """The scores of finding the second text of each pair; `vectors`: of the first texts, then of
    the `candidates`."""
    from ptm.components.objectives.scores.retrieval import RetrievalTask, retrieval_scores

    numbers = {text: number for number, text in enumerate(candidates)}
    # Texts are compared by number; those of queries are different from all candidates.
    hashes = [-1 - at for at in range(len(pairs))] + list(range(len(candidates)))
    positives = [len(pairs) + numbers[second] for _, second in pairs]
    others = np.arange(len(pairs), len(hashes))
    task = RetrievalTask.of(
        np.arange(len(pairs)), np.array(positives), others, np.array(hashes, dtype=np.int64)
    )
    return retrieval_scores(task, task.ranks(vectors))


def show(name: str, scores: Any) -> None:
    """Print the scores of one model."""
    print(f"{name}: " + ", ".join(f"{key} {scores[key]:.4f}" for key in SHOWN), flush=True)


def evaluate(name: str, model: Path, folder: Path, *, step: str | None = None) -> None:
    """Print how well a model finds the paragraphs of test.tsv among all paragraphs."""
    from ptm.inference.embed import Embedder
    from ptm.interop.sources.open import open_source

    pairs = pairs_of(folder / "test.tsv")
    candidates = (folder / "paragraphs.txt").read_text(encoding="utf-8").splitlines()
    texts = [first for first, _ in pairs] + candidates
    embedder = Embedder(open_source(str(model), step=step))
    vectors = embedder.sentences(texts, places=texts)
    show(name, scores_of(vectors, pairs, candidates))


def train(folder: Path, vocab: str, pooling: str, *seeds: str) -> None:
    """Pretrain and fine-tune the small encoder, once per seed, and print its scores."""
    tiny = str(RECIPES / "roberta" / "tiny.yaml")
    ours = (f"tokenizer.vocab={vocab}", f"runs_dir={folder}/runs", *SIZE)
    pretraining = (
        *(f"data.corpus={folder}/paragraphs.txt", f"data.store={folder}/store-texts", *ours),
        *("data.held_out=0.02", "train.steps=300", "optimizer.learning_rate=2.0e-3"),
        *("model.dropout=0.0", "optimizer.beta2=0.98", "checkpoint.keep=1"),
        *("tracking.evaluate_every=300", "data.sequence_length=128", "schedule.warmup=0.2"),
    )
    recipe = str(RECIPES / "finetune" / "embedding" / "retrieval-tiny.yaml")
    sets = ", ".join(
        f"{name}: {{corpus: {folder}/{name}.tsv, store: {folder}/store-{name}{more}}}"
        for name, more in (("dev", ""), ("test", ", during_training: false"))
    )
    pairs = (
        *(f"data.corpus={folder}/train.tsv", f"data.store={folder}/store-train", *ours),
        *(f"data.evaluation={{{sets}}}", f"objective.pooling={pooling}"),
    )
    command("preprocess", tiny, *pretraining)
    command("preprocess", recipe, *pairs)
    for seed in seeds or ("1",):
        began = cpu_seconds()
        # An almost empty training: the weights are the initial ones.
        untrained = (*pairs, f"seed={seed}", f"name=untrained-{pooling}-{seed}")
        command("train", recipe, *untrained, *STILL)
        evaluate(
            f"seed {seed}, random weights", folder / "runs" / f"untrained-{pooling}-{seed}", folder
        )
        named = (*pretraining, f"seed={seed}", f"name=pretrained-{seed}")
        if not (folder / "runs" / f"pretrained-{seed}").exists():
            command("train", tiny, *named)
        start = f"init_from={folder}/runs/pretrained-{seed}"
        command(
            "train", recipe, *pairs, f"seed={seed}", f"name=still-{pooling}-{seed}", start, *STILL
        )
        evaluate(f"seed {seed}, pretrained", folder / "runs" / f"still-{pooling}-{seed}", folder)
        command("train", recipe, *pairs, f"seed={seed}", f"name=trained-{pooling}-{seed}", start)
        run = folder / "runs" / f"trained-{pooling}-{seed}"
        evaluate(f"seed {seed}, fine-tuned", run, folder, step="best")
        print(f"seed {seed}: {cpu_seconds() - began:.0f} s of CPU time")


STILL = (
    *("train.steps=1", "train.epochs=null", "schedule.warmup=0", "optimizer.learning_rate=1.0e-12"),
    *("optimizer.weight_decay=0.0", "checkpoint.best=null"),
)
"""Overrides of a training that leaves the weights as they are."""


def bm25(folder: Path, *, k1: float = 1.2, b: float = 0.75) -> None:
    """Print the scores of BM25 (Robertson and Zaragoza 2009) over characters and bigrams."""
    pairs = pairs_of(folder / "test.tsv")
    candidates = (folder / "paragraphs.txt").read_text(encoding="utf-8").splitlines()
    counts = [terms_of(text) for text in candidates]
    lengths = np.array([sum(one.values()) for one in counts], dtype=np.float64)
    frequency = Counter(term for one in counts for term in one)
    scores = np.zeros((len(pairs), len(candidates)), dtype=np.float32)
    scale = k1 * (1 - b + b * lengths / lengths.mean())
    postings: dict[str, list[tuple[int, int]]] = {}
    for number, one in enumerate(counts):
        for term, count in one.items():
            postings.setdefault(term, []).append((number, count))
    for row, (question, _) in enumerate(pairs):
        for term in terms_of(question).keys() & postings.keys():
            at, count = np.array(postings[term]).T
            rarity = math.log(1 + (len(counts) - frequency[term] + 0.5) / (frequency[term] + 0.5))
            scores[row, at] += rarity * count * (k1 + 1) / (count + scale[at])
    wanted = np.array([candidates.index(second) for _, second in pairs])
    own = scores[np.arange(len(pairs)), wanted][:, None]
    ranks = 1 + (scores > own).sum(axis=1)
    gains = np.where(ranks <= 10, 1 / np.log2(ranks + 1), 0)
    recalls = {f"recall@{k}": (ranks <= k).mean() for k in (1, 10)}
    show("BM25", {**recalls, "mrr": (1 / ranks).mean(), "ndcg@10": gains.mean()})


def terms_of(text: str) -> Counter[str]:
    """The characters of a text and the pairs of neighbouring ones."""
    return Counter([*text, *(text[at : at + 2] for at in range(len(text) - 1))])


def translations(corpus: Path, folder: Path) -> None:
    """Divide pairs of sentences into those to train on and the last 100."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [line for line in corpus.read_text(encoding="utf-8").splitlines() if line.strip()]
    for name, some in (("train", lines[:-HELD_OUT]), ("test", lines[-HELD_OUT:])):
        (folder / f"{name}.tsv").write_text("\n".join(some) + "\n", encoding="utf-8")
        print(f"{name}: {len(some)} pairs")


def minilm(folder: Path, model: str, *overrides: str) -> None:
    """Fine-tune a model of sentence-transformers on pairs, and print recall@1 before and after."""
    import yaml

    command("import", model, str(folder / "imported"), "--from", "hf")
    blocks = yaml.safe_load((folder / "imported" / "recipe.yaml").read_text(encoding="utf-8"))
    files = {name: f"{folder}/{name}.tsv" for name in ("train", "test")}
    recipe = {
        **blocks,
        "name": "minilm",
        "runs_dir": str(folder),
        "init_from": str(folder / "imported"),
        "data": {
            "corpus": files["train"],
            "layout": "pairs",
            "store": f"{folder}/store-train",
            "held_out": 0,
            "evaluation": {"test": {"corpus": files["test"], "store": f"{folder}/store-test"}},
            "sequence_length": 256,
            "packing": True,
        },
        "optimizer": {"type": "adamw", "learning_rate": 3.0e-4, "weight_decay": 0.01},
        "schedule": {"type": "linear", "warmup": 0.1},
        "train": {"epochs": 8, "global_batch_size": 16, "micro_batch_size": 16},
        "engine": {"deepspeed": "zero0", "precision": "fp32"},
        "checkpoint": {"every": 1000, "keep": 1},
        "tracking": {"log_every": 10, "evaluate_every": 20},
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    began = cpu_seconds()
    command("preprocess", str(path), *overrides)
    command("train", str(path), *overrides, "--fresh")
    lines = (folder / "minilm" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    found = [one for one in map(json.loads, lines) if one["split"] == "test"]
    for one in (found[0], found[-1]):
        show(f"step {one['step']}", one)
    print(f"{cpu_seconds() - began:.0f} s of CPU time")


def main(kind: str, *rest: str) -> None:
    """Run one of the benchmarks."""
    if kind == "pairs":
        write_pairs(Path(rest[0]), Path(rest[1]))
    elif kind == "train":
        train(Path(rest[0]), *rest[1:])
    elif kind == "bm25":
        bm25(Path(rest[0]))
    elif kind == "translations":
        translations(Path(rest[0]), Path(rest[1]))
    elif kind == "minilm":
        minilm(Path(rest[0]), *rest[1:])
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:])
