"""Training here and training transformers' own model with torch's optimizer give one loss curve."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForMaskedLM, get_linear_schedule_with_warmup

from ptm.data.preprocess import Preprocessing, preprocess
from ptm.interop.hf.export import export_to_huggingface
from ptm.recipe import Recipe, recipe_from_data, recipe_yaml
from ptm.text.corpus import find_corpus
from ptm.train.batches import TrainStream
from ptm.train.inputs import open_inputs
from tests.interop.bert_pairs import Size, blocks_of, write_model

STEPS, WARMUP = 300, 30
RATE = 5e-4
"""At six times this rate, transformers' curve leaves itself by 0.05 when its first weights change
by 1e-7: nothing could be compared."""
APART = 1e-4
"""What a curve may differ by: about 2e-6 is measured, and a forgotten weight decay makes 1e-3."""
CONFIGURATIONS = ("zero0", "zero1")


@dataclass(frozen=True)
class Curve:
    """The loss of every step, and the gradient's norm before clipping."""

    loss: list[float]
    grad_norm: list[float]


def recipe_for(folder: Path, texts: list[str], vocab: Path) -> Recipe:
    """A small model, a small corpus, its store, every feature of a training but dropout."""
    (folder / "corpus.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    blocks = blocks_of(vocab, Size(2, 64, 2))
    blocks["model"]["dropout"] = 0.0
    rest: dict[str, Any] = {
        "name": "curve",
        "runs_dir": str(folder / "runs"),
        "data": {
            "corpus": str(folder / "corpus.txt"),
            "layout": "documents",
            "store": str(folder / "store"),
            "held_out": 0.0,
            "sequence_length": 48,
        },
        "optimizer": {"type": "adamw", "learning_rate": RATE, "weight_decay": 0.1},
        "schedule": {"type": "linear", "warmup": WARMUP},
        # Two micro-batches a step, with different numbers of predicted tokens.
        "train": {"steps": STEPS, "global_batch_size": 8, "micro_batch_size": 4},
    }
    recipe = recipe_from_data({**blocks, **rest}, name="curve")
    preprocess(
        Preprocessing(
            find_corpus((str(folder / "corpus.txt"),)), "documents", recipe.tokenizer, None
        ),
        folder / "store",
        workers=1,
        fresh=False,
        report=lambda _: None,
    )
    return recipe


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, corpus_texts: list[str], small_vocab: Path
) -> Path:
    """Everything a training leaves: its curves and the weights it began with."""
    folder = tmp_path_factory.mktemp("curve")
    recipe = recipe_for(folder, corpus_texts, small_vocab)
    (folder / "recipe.yaml").write_text(recipe_yaml(recipe), encoding="utf-8")
    command = [sys.executable, str(Path(__file__).with_name("loss_curve.py"))]
    overrides = [f"engine.deepspeed={name}" for name in CONFIGURATIONS]
    ended = subprocess.run(
        [*command, str(folder / "recipe.yaml"), str(folder), *overrides],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return folder


@pytest.fixture(scope="module")
def theirs(folder: Path, small_vocab: Path) -> Curve:
    """transformers' model from the same first weights, on the same batches."""
    recipe = recipe_from_data(_read(folder / "recipe.yaml"), name="curve")
    blocks = recipe.model_dump(mode="json", include={"tokenizer", "model", "objective"})
    source = write_model(folder / "model", blocks, load_file(folder / "first.safetensors"))
    export_to_huggingface(source, folder / "export", weights_format="safetensors")
    model = AutoModelForMaskedLM.from_pretrained(folder / "export").train()

    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}],
        lr=RATE,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0.1,
    )
    schedule = get_linear_schedule_with_warmup(optimizer, WARMUP, STEPS)
    inputs = open_inputs(recipe)
    stream = TrainStream(inputs.train, inputs.batch, data_rank=0)
    curve = Curve([], [])
    for _, batch in zip(range(STEPS), stream.steps(0), strict=False):
        parts = [_for_transformers(part) for part in batch.micro_batches]
        whole = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        optimizer.zero_grad()
        loss = model(**whole).loss
        loss.backward()
        curve.loss.append(float(loss.detach()))
        curve.grad_norm.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)))
        optimizer.step()
        schedule.step()
    return curve


def _read(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return data


def _for_transformers(tensors: Any) -> dict[str, Tensor]:
    """A micro-batch as transformers takes packed rows: labels everywhere, a mask (B, 1, T, T)."""
    ids = tensors["example_ids"]
    labels = torch.full_like(ids, -100)
    real = tensors["predicted_weights"] > 0
    labels.view(-1)[tensors["predicted_positions"][real]] = tensors["predicted_ids"][real]
    return {
        "input_ids": tensors["input_ids"],
        "position_ids": tensors["position_ids"],
        "token_type_ids": torch.zeros_like(ids),
        "attention_mask": (ids[:, None, :, None] == ids[:, None, None, :]),
        "labels": labels,
    }


def curve_of(folder: Path, configuration: str) -> Curve:
    return Curve(**json.loads((folder / f"{configuration}.json").read_text(encoding="utf-8")))


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_the_loss_is_the_same_at_every_step(
    folder: Path, theirs: Curve, configuration: str
) -> None:
    ours = torch.tensor(curve_of(folder, configuration).loss)
    apart = (ours - torch.tensor(theirs.loss)).abs()
    assert len(ours) == STEPS
    assert float(apart.max()) <= APART, f"at step {int(apart.argmax())}"


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_the_gradient_norm_before_clipping_is_the_same(
    folder: Path, theirs: Curve, configuration: str
) -> None:
    ours = torch.tensor(curve_of(folder, configuration).grad_norm)
    torch.testing.assert_close(ours, torch.tensor(theirs.grad_norm), rtol=1e-3, atol=0)


def test_the_loss_falls_and_gradients_are_clipped_on_the_way(theirs: Curve) -> None:
    """Else the comparison would say nothing about learning, or nothing about clipping."""
    first, last = sum(theirs.loss[:20]) / 20, sum(theirs.loss[-20:]) / 20
    assert last < first - 1.0
    assert sum(norm > 1.0 for norm in theirs.grad_norm) > STEPS / 2
