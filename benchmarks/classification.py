"""Train classifiers on book_review, beside transformers, and from pretrained weights.

python benchmarks/classification.py against FOLDER DATA VOCAB [KEY=VALUE ...]
python benchmarks/classification.py alone NAME RECIPE FOLDER DATA VOCAB [KEY=VALUE ...]
python benchmarks/classification.py pretrain FOLDER DATA VOCAB [KEY=VALUE ...]

DATA has train.tsv, dev.tsv and test.tsv. `against` trains the tiny transformer twice, from the same
initial weights, on the same batches in the same order, without dropout: with ptm, and with
transformers' BertForSequenceClassification, torch's AdamW and a plain loop. `alone` trains a recipe
and evaluates it on the test set. `pretrain` trains a tiny RoBERTa on the texts of train.tsv only;
start a classifier from it with `alone … init_from=FOLDER/pretrained`.
`python -m benchmarks.pictures.collect classification FOLDER` takes both curves of `against`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

RECIPES = Path(__file__).parents[1] / "recipes"
TINY = RECIPES / "classification" / "transformer-tiny.yaml"
PRETRAINED = "pretrained"
FIRST = 100
"""Number of first steps whose losses are compared one by one."""
ROWS_TOGETHER = 64


def paths(folder: Path, data: str, vocab: str) -> list[str]:
    """Overrides for corpora, stores and vocabulary; the test set is evaluated as well."""
    sets = ", ".join(
        f"{name}: {{corpus: {data}/{name}.tsv, store: {folder}/store-{name}}}"
        for name in ("dev", "test")
    )
    return [
        f"runs_dir={folder}",
        f"tokenizer.vocab={vocab}",
        "tokenizer.size=null",
        f"data.corpus={data}/train.tsv",
        f"data.store={folder}/store-train",
        f"data.evaluation={{{sets}}}",
        "engine.deepspeed=zero0",
        "checkpoint.keep=1",
    ]


def merged(*overrides: str) -> list[str]:
    """The last override of each key."""
    return list({word.partition("=")[0]: word for word in overrides}.values())


def command(*words: str) -> None:
    """Run `ptm`."""
    from ptm.cli import main

    code = main(list(words))
    assert code == 0, f"ptm {words[0]} ended with {code}"


def reports(run: Path, split: str) -> list[dict[str, Any]]:
    """The reports of a run on a split."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [record for record in map(json.loads, lines) if record["split"] == split]


def alone(name: str, recipe: str, folder: Path, data: str, vocab: str, *overrides: str) -> None:
    """Train a recipe, and print its last evaluations."""
    ours = merged(*paths(folder, data, vocab), f"name={name}", *overrides)
    command("preprocess", recipe, *ours)
    began = time.perf_counter()
    command("train", recipe, *ours)
    for split in ("dev", "test"):
        last = next(iter(reports(folder / name, split)[-1:]), None)
        if last is None:
            continue
        print(
            f"{name}: {split} accuracy {last['accuracy']:.4f}, macro F1 {last['macro_f1']:.4f}, "
            f"{last['step']} steps, {last['tokens']:,} tokens, "
            f"{time.perf_counter() - began:.0f} s"
        )


def pretrain(folder: Path, data: str, vocab: str, *overrides: str) -> None:
    """Train a tiny RoBERTa on the texts of train.tsv, without their labels."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = folder / "texts.txt"
    if not texts.exists():
        lines = Path(data, "train.tsv").read_text(encoding="utf-8").splitlines()[1:]
        without = "".join(line.partition("\t")[2] + "\n" for line in lines)
        texts.write_text(without, encoding="utf-8")
    ours = [one for one in paths(folder, data, vocab) if not one.startswith("data.")]
    ours += [f"data.corpus={texts}", f"data.store={folder}/store-texts", f"name={PRETRAINED}"]
    ours = merged(*ours, *overrides)
    recipe = str(RECIPES / "roberta" / "tiny.yaml")
    command("preprocess", recipe, *ours)
    command("train", recipe, *ours)


def against(folder: Path, data: str, vocab: str, *overrides: str) -> None:
    """Train with ptm and with transformers, and print both curves and accuracies."""
    from ptm.recipe import load_recipe

    ours = merged(
        *paths(folder, data, vocab),
        *("name=ptm", "data.packing=false", "model.dropout=0.0", "tracking.log_every=1"),
        *("checkpoint.best=null", "tracking.evaluate_every=100000", *overrides),
    )
    command("preprocess", str(TINY), *ours)
    if not (folder / "theirs.json").exists():
        theirs = train_with_transformers(load_recipe(str(TINY), ours))
        (folder / "theirs.json").write_text(json.dumps(theirs), encoding="utf-8")
    theirs = json.loads((folder / "theirs.json").read_text(encoding="utf-8"))
    command("train", str(TINY), *ours)
    losses = [record["loss"] for record in reports(folder / "ptm", "train")]
    between = [abs(a - b) for a, b in zip(losses, theirs["losses"], strict=True)]
    print(
        f"largest difference of the losses in the first {FIRST} steps: {max(between[:FIRST]):.2e}"
    )
    print(f"largest difference of the losses in all {len(losses)} steps: {max(between):.2e}")
    print("steps        loss of ptm  of transformers (means)")
    tenth = max(1, len(losses) // 10)
    columns = (means(losses, tenth), means(theirs["losses"], tenth))
    for (last, mine), (_, other) in zip(*columns, strict=True):
        print(f"up to {last:5}  {mine:11.4f}  {other:.4f}")
    for split in (one for one in ("dev", "test") if one in theirs):
        last = reports(folder / "ptm", split)[-1]
        print(f"{split} accuracy: ptm {last['accuracy']:.4f}, transformers {theirs[split]:.4f}")


def means(losses: list[float], steps: int) -> list[tuple[int, float]]:
    """The mean loss of every `steps` steps, with the number of the last one."""
    parts = [losses[at : at + steps] for at in range(0, len(losses), steps)]
    return [(min((n + 1) * steps, len(losses)), sum(p) / len(p)) for n, p in enumerate(parts)]


def train_with_transformers(recipe: Any) -> dict[str, Any]:
    """Train BertForSequenceClassification on the batches of `recipe`: losses and accuracies."""
    from ptm.loading.batches import TrainStream
    from ptm.train.inputs import open_inputs

    inputs = open_inputs(recipe)
    model = transformers_model(recipe, inputs.plan)
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() <= 1]
    optimizer = torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": recipe.optimizer.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=recipe.optimizer.learning_rate,
        betas=(recipe.optimizer.beta1, recipe.optimizer.beta2),
        eps=recipe.optimizer.epsilon,
    )
    stream = TrainStream(inputs.train, inputs.batch, data_parallel_rank=0)
    losses = []
    for step, batch in zip(range(inputs.steps), stream.steps(0), strict=False):
        for group in optimizer.param_groups:
            factor = recipe.schedule.factor(step, inputs.steps)
            group["lr"] = recipe.optimizer.learning_rate * factor
        (tensors,) = batch.micro_batches
        loss = model(**model_inputs(tensors)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.train.gradient_clipping)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    accuracies = {name: accuracy(model, rows) for name, rows in inputs.evaluation.items()}
    return {"losses": losses, **accuracies}


def transformers_model(recipe: Any, plan: Any) -> Any:
    """BertForSequenceClassification with the initial weights of the run."""
    from transformers import BertConfig, BertForSequenceClassification

    from ptm.interop.hf.families.bert import Bert
    from ptm.model.initial_weights import InitialWeights

    first = InitialWeights(plan, recipe.model, seed=recipe.seed)
    weights = {name: first[name] for name in first.names}
    encoder = recipe.model.encoder
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=len(weights["word_embedding.weight"]),
            hidden_size=encoder.hidden_size,
            num_hidden_layers=encoder.layers,
            num_attention_heads=encoder.heads,
            intermediate_size=encoder.feed_forward_size,
            max_position_embeddings=recipe.model.embedding.positions,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            num_labels=len(recipe.objective.label_set.names),
        )
    )
    named = Bert().to_huggingface(weights, recipe.model, recipe.objective)
    named = {name: tensor for name, tensor in named.items() if not name.startswith("cls.")}
    named |= {f"classifier.{kind}": weights[f"classifier.{kind}"] for kind in ("weight", "bias")}
    model.load_state_dict(named, strict=True)
    return model.train()


def model_inputs(tensors: Any) -> dict[str, Any]:
    """The arguments of BertForSequenceClassification for rows of one example each."""
    rows = len(tensors["input_ids"])
    return {
        "input_ids": tensors["input_ids"],
        "attention_mask": (tensors["example_ids"] > 0).long(),
        "token_type_ids": (tensors["segment_ids"] - 1).clamp(min=0),
        "labels": tensors["class_labels"][:rows],
    }


def accuracy(model: Any, rows: Any) -> float:
    """The share of the examples of an evaluation set that are classified correctly."""
    from ptm.loading.batches import evaluation_batches

    model.eval()
    hits = 0
    for batch in evaluation_batches(rows, ROWS_TOGETHER):
        (tensors,) = batch.micro_batches
        with torch.no_grad():
            given = model_inputs(tensors)
            right = model(**given).logits.argmax(dim=-1) == given["labels"]
        hits += int((right & (given["attention_mask"].sum(dim=1) > 0)).sum())
    return hits / rows.lengths.size


def run() -> None:
    """Run the command line."""
    with suppress(RuntimeError):
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    kind, *rest = sys.argv[1:]
    if kind == "alone":
        name, recipe, folder, *others = rest
        alone(name, recipe, Path(folder), *others)
        return
    folder, *others = rest
    {"against": against, "pretrain": pretrain}[kind](Path(folder), *others)


if __name__ == "__main__":
    run()
