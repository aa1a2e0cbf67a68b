"""Predict for reviews, beside transformers' pipeline, on one core.

python benchmarks/prediction.py FOLDER DATA VOCAB [LAYERS [WIDTH [REVIEWS]]]

DATA has test.tsv (`label<TAB>text_a`). Both sides have the same random weights of a BERT of LAYERS
layers (default 4, width 768) and cut texts to 128 tokens. Prints the seconds of processor time of
each, alternating, the least of three, and the largest difference of a probability.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from ptm.inference.predict.base import PredictionOptions
from ptm.inference.predict.classification import ClassificationPredictor
from ptm.inference.predict.text_files import InputText
from ptm.interop.hf.families.bert import Bert
from ptm.interop.sources.base import ModelSource
from ptm.model.build import build_plan
from ptm.recipe import load_recipe

RECIPE = Path(__file__).parents[1] / "recipes" / "finetune" / "classification" / "book_review.yaml"
ROUNDS = 3
BATCHES = (8, 32)
"""Batch sizes of the pipeline."""


class RandomClassifier(ModelSource):
    """A classifier with random weights."""

    def __init__(self, folder: Path, vocab: str, *, layers: int, width: int) -> None:
        super().__init__(folder)
        self._recipe = load_recipe(
            str(RECIPE),
            [
                *(f"tokenizer.vocab={vocab}", "tokenizer.size=null", "init_from=null"),
                *(f"model.encoder.layers={layers}", f"model.encoder.hidden_size={width}"),
                *(f"model.encoder.heads={width // 64}",),
                f"model.encoder.feed_forward_size={4 * width}",
            ],
        )
        size = self._recipe.tokenizer.load().vocabulary.size
        plan = build_plan(self._recipe.model, self._recipe.objective, vocabulary_size=size)
        generator = torch.Generator().manual_seed(0)
        self._weights = {
            name: 0.05 * torch.randn(shape, generator=generator)
            + float(name.endswith("norm.weight"))
            for name, shape in plan.parameter_shapes.items()
        }

    def recipe_data(self) -> dict[str, Any]:
        return self._recipe.model_dump(mode="json")

    def tensors(self) -> dict[str, torch.Tensor]:
        return self._weights

    def description(self) -> str:
        return "random weights"


def pipeline_of(source: RandomClassifier, vocab: str) -> Any:
    from transformers import (
        BertConfig,
        BertForSequenceClassification,
        BertTokenizerFast,
        pipeline,
    )

    recipe, weights = source.recipe(), source.tensors()
    encoder: Any = recipe.model.encoder
    config = BertConfig(
        vocab_size=recipe.tokenizer.load().vocabulary.size,
        hidden_size=encoder.hidden_size,
        num_hidden_layers=encoder.layers,
        num_attention_heads=encoder.heads,
        intermediate_size=encoder.feed_forward_size,
        num_labels=2,
    )
    model = BertForSequenceClassification(config).eval()
    named = Bert().to_huggingface(weights, recipe.model, recipe.objective)
    named = {name: tensor for name, tensor in named.items() if not name.startswith("cls.")}
    named |= {name: weights[name] for name in weights if name.startswith("classifier")}
    model.load_state_dict(named, strict=True)
    tokenizer = BertTokenizerFast(vocab=vocab, do_lower_case=True)
    return pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")


def main(
    folder: str, data: str, vocab: str, layers: str = "4", width: str = "768", count: str = "200"
) -> None:
    lines = (Path(data) / "test.tsv").read_text(encoding="utf-8").splitlines()
    texts = [line.split("\t")[1] for line in lines[1 : 1 + int(count)]]
    source = RandomClassifier(Path(folder), vocab, layers=int(layers), width=int(width))
    ours = ClassificationPredictor(source, PredictionOptions())
    theirs = pipeline_of(source, vocab)
    inputs = [InputText("", (text,)) for text in texts]

    def mine() -> list[dict[str, float]]:
        return [dict(one.values["probabilities"]) for one in ours.predict(inputs)]

    def others(size: int) -> list[dict[str, float]]:
        found = theirs(texts, batch_size=size, truncation=True, max_length=128, top_k=None)
        return [{one["label"].removeprefix("LABEL_"): one["score"] for one in two} for two in found]

    runs = {"ptm": mine, **{f"pipeline, batches of {n}": lambda n=n: others(n) for n in BATCHES}}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    results = {}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            started = time.process_time()
            results[name] = run()
            seconds[name].append(time.process_time() - started)
    for name in runs:
        print(f"{name}: {min(seconds[name]):.2f} s")
    different = max(
        abs(a[label] - b[label])
        for a, b in zip(*list(results.values())[:2], strict=True)
        for label in a
    )
    print(f"largest difference of a probability: {different:.1e}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
