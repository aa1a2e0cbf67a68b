"""Tag the words of MSRA NER: beside transformers, and beside a dictionary of known entities.

python benchmarks/tagging.py against FOLDER DATA VOCAB [KEY=VALUE ...]
python benchmarks/tagging.py alone NAME FOLDER DATA VOCAB [KEY=VALUE ...]
python benchmarks/tagging.py dictionary DATA

DATA has train.tsv, dev.tsv and test.tsv, with the header text_a<TAB>label. `against` trains a small
transformer twice, from the same initial weights, on the same batches in the same order, without
dropout: with ptm, and with transformers' BertForTokenClassification, torch's AdamW and a plain
loop. `alone` trains recipes/finetune/tagging/msra_ner-tiny and prints its best evaluation.
`dictionary` tags the longest strings that are entities in train.tsv, from left to right.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

RECIPES = Path(__file__).parents[1] / "recipes" / "finetune" / "tagging"
KINDS = ("LOC", "PER", "ORG")
SPLITS = ("dev", "test")
SMALL = (
    *("model.encoder.layers=2", "model.encoder.hidden_size=128", "model.encoder.heads=2"),
    *("model.encoder.feed_forward_size=512", "model.dropout=0.0", "data.packing=false"),
    *("data.sequence_length=128", "train.steps=100", "train.epochs=null"),
    *("optimizer.learning_rate=1.0e-3", "engine.precision=fp32", "tracking.log_every=1"),
    *("tracking.evaluate_every=100", "checkpoint.best=null"),
)


def paths(folder: Path, data: str, vocab: str) -> list[str]:
    """Overrides for corpora, stores and vocabulary."""
    sets = ", ".join(
        f"{name}: {{corpus: {data}/{name}.tsv, store: {folder}/store-{name}}}" for name in SPLITS
    )
    return [
        *(f"runs_dir={folder}", f"tokenizer.vocab={vocab}", "tokenizer.size=null"),
        *(f"data.corpus={data}/train.tsv", f"data.store={folder}/store-train"),
        *(f"data.evaluation={{{sets}}}", "engine.deepspeed=zero0"),
    ]


def command(*words: str) -> None:
    """Run `ptm`."""
    from ptm.cli import main

    code = main(list(words))
    assert code == 0, f"ptm {words[0]} ended with {code}"


def reports(run: Path, split: str) -> list[dict[str, Any]]:
    """The reports of a run on a split."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [record for record in map(json.loads, lines) if record["split"] == split]


def alone(name: str, folder: Path, data: str, vocab: str, *overrides: str) -> None:
    """Train the small recipe, and print the evaluation with the best F1 on dev."""
    recipe, ours = str(RECIPES / "msra_ner-tiny.yaml"), [*paths(folder, data, vocab), *overrides]
    command("preprocess", recipe, *ours)
    began = time.perf_counter()
    command("train", recipe, *ours, f"name={name}")
    seconds = time.perf_counter() - began
    best = max(reports(folder / name, "dev"), key=lambda record: record["entity_f1"])["step"]
    for split in SPLITS:
        (found,) = (one for one in reports(folder / name, split) if one["step"] == best)
        print(
            f"{split}, step {best}: F1 {found['entity_f1']:.4f}, "
            f"precision {found['entity_precision']:.4f}, recall {found['entity_recall']:.4f}"
        )
    print(f"{seconds:.0f} s")


def against(folder: Path, data: str, vocab: str, *overrides: str) -> None:
    """Train with ptm and with transformers, and print how far the losses differ."""
    from ptm.recipe import load_recipe

    recipe = str(RECIPES / "msra_ner.yaml")
    ours = [*paths(folder, data, vocab), *SMALL, "name=against", *overrides]
    command("preprocess", recipe, *ours)
    theirs = losses_of_transformers(load_recipe(recipe, ours))
    command("train", recipe, *ours, "--fresh")
    losses = [record["loss"] for record in reports(folder / "against", "train")]
    apart = [abs(mine - other) for mine, other in zip(losses, theirs, strict=True)]
    print(f"loss of the first and last of {len(losses)} steps: {losses[0]:.4f}, {losses[-1]:.4f}")
    print(f"largest difference of the losses: {max(apart):.1e}")


def losses_of_transformers(recipe: Any) -> list[float]:
    """The losses of BertForTokenClassification on the batches of `recipe`."""
    from ptm.loading.batches import TrainStream
    from ptm.train.inputs import open_inputs

    inputs = open_inputs(recipe)
    model = transformers_model(recipe, inputs.plan)
    decay = recipe.optimizer.weight_decay
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": decay},
            {"params": [p for p in model.parameters() if p.dim() <= 1], "weight_decay": 0.0},
        ]
    )
    stream = TrainStream(inputs.train, inputs.batch, data_parallel_rank=0)
    losses = []
    for step, batch in zip(range(inputs.steps), stream.steps(0), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = recipe.optimizer.learning_rate * recipe.schedule.factor(
                step, inputs.steps
            )
        (tensors,) = batch.micro_batches
        loss = model(
            input_ids=tensors["input_ids"],
            attention_mask=(tensors["example_ids"] > 0).long(),
            labels=torch.where(tensors["word_numbers"] > 0, tensors["tags"], -100),
        ).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.train.gradient_clipping)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return losses


def transformers_model(recipe: Any, plan: Any) -> Any:
    """BertForTokenClassification with the initial weights of the run."""
    from transformers import BertConfig, BertForTokenClassification

    from ptm.interop.hf.families.bert import Bert
    from ptm.model.initial_weights import InitialWeights

    first = InitialWeights(plan, recipe.model, seed=recipe.seed)
    weights = {name: first[name] for name in first.names}
    encoder = recipe.model.encoder
    model = BertForTokenClassification(
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
    other = ("cls.", "bert.pooler.")
    named = {name: tensor for name, tensor in named.items() if not name.startswith(other)}
    for kind in ("weight", "bias"):
        named[f"classifier.{kind}"] = weights[f"tag_classifier.{kind}"]
    model.load_state_dict(named, strict=True)
    return model.train()


def dictionary(data: str) -> None:
    """Print the scores of a dictionary of the entities of train.tsv."""
    from ptm.components.objectives.scores.class_scores import entity_scores
    from ptm.text.tags import TagSet, tags_of_entities

    tag_set = TagSet(tags_of_entities(KINDS, "bio"), scheme="bio")
    known: defaultdict[str, Counter[int]] = defaultdict(Counter)
    words, tags, begins = read(data, "train", tag_set)
    found = tag_set.entities(tags, begins)
    for first, last, kind in zip(*found.columns, strict=True):
        known["".join(words[first : last + 1])][kind] += 1
    for split in SPLITS:
        words, tags, begins = read(data, split, tag_set)
        predicted = np.zeros_like(tags)
        ends = [*np.flatnonzero(begins).tolist()[1:], len(words)]
        begin = 0
        for end in ends:
            tag_by_dictionary(words, begin, end, known=known, predicted=predicted)
            begin = end
        scores = entity_scores(tag_set.entities(tags, begins), tag_set.entities(predicted, begins))
        print(split, {name: round(value, 4) for name, value in scores.items()})


def tag_by_dictionary(
    words: Sequence[str], begin: int, end: int, *, known: Any, predicted: Any
) -> None:
    """Tag the words from `begin` to `end`: the longest known string at each place."""
    longest = max(map(len, known))
    while begin < end:
        for size in range(min(longest, end - begin), 0, -1):
            kinds = known.get("".join(words[begin : begin + size]))
            if kinds:
                # O, then B-X and I-X of each type.
                tag = 1 + 2 * kinds.most_common(1)[0][0]
                predicted[begin] = tag
                predicted[begin + 1 : begin + size] = tag + 1
                begin += size
                break
        else:
            begin += 1


def read(data: str, split: str, tag_set: Any) -> tuple[list[str], Any, Any]:
    """The words and tags of a file, and whether each word begins a sentence."""
    lines = Path(data, f"{split}.tsv").read_text(encoding="utf-8").splitlines()[1:]
    rows = [line.split("\t") for line in lines]
    words = [word for text, _ in rows for word in text.split(" ")]
    tags = [tag_set.tag_index(tag) for _, of in rows for tag in of.split(" ")]
    begins = [at == 0 for text, _ in rows for at in range(len(text.split(" ")))]
    return words, np.array(tags), np.array(begins)


def run() -> None:
    """Run the command line."""
    with suppress(RuntimeError):
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    kind, *rest = sys.argv[1:]
    if kind == "dictionary":
        dictionary(*rest)
    elif kind == "alone":
        name, folder, *others = rest
        alone(name, Path(folder), *others)
    else:
        assert kind == "against", f"{kind} is not a command"
        folder, *others = rest
        against(Path(folder), *others)


if __name__ == "__main__":
    run()
