"""LoRA against its definition and against peft: losses, merged exports and exported adapters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    PreTrainedModel,
)

from ptm.cli import main
from ptm.components.adapters.lora import Lora
from ptm.interop.hf.io.adapter_folder import write_adapter
from ptm.interop.sources.open import open_source
from ptm.interop.sources.run import RunSource
from ptm.loading.batches import TrainStream
from ptm.model.initial_weights import InitialWeights
from ptm.recipe import Recipe
from ptm.train.inputs import open_inputs
from tests.integration.parity.curve_cases import CASES
from tests.support.labelled_texts import LABELS, classifying, write_corpora, write_stores
from tests.support.lora import WAYS, adamw
from tests.support.small_runs import Runs

STEPS, RATE, DECAY = 50, 4e-3, 0.1
_LAYERS = "type: transformer, layers: 2, hidden_size: 32, heads: 2, feed_forward_size: 64"
_CAUSAL = f"{_LAYERS}, visibility: causal, norm_position: pre, norm_epsilon: 1.0e-5"


@dataclass(frozen=True)
class Case:
    """A model and the matrices that are updated. `theirs`: its auto class in transformers."""

    theirs: Any
    targets: str
    model: tuple[str, ...] = ()
    options: str = ""


MODELS = {
    "bert": Case(
        AutoModelForMaskedLM, "query, value, up", ("model.encoder.layers=2",), ", lora_alpha: 4"
    ),
    # One matrix of transformers holds two updated parts and one that is not, transposed.
    "gpt2": Case(
        AutoModelForCausalLM,
        "query, value, down",
        (
            "objective={type: lm, head: {}}",
            "model.embedding={parts: [word, position], layer_norm: false, positions: 64}",
            f"model.encoder={{{_CAUSAL}, activation: gelu_tanh}}",
        ),
        ", use_rslora: true",
    ),
    # One matrix of ptm holds queries of two heads, keys and values of one; gate and up.
    "llama": Case(
        AutoModelForCausalLM,
        "key, value, gate, encoder_01.attention.output",
        (
            "objective={type: lm, head: {tied: false}}",
            "model.embedding={parts: [word], layer_norm: false}",
            f"model.encoder={{{_CAUSAL}, activation: silu, feed_forward: gated, norm: rms,"
            " key_value_heads: 1, bias: false, rotary: {}}",
        ),
    ),
}


@dataclass(frozen=True)
class Trained:
    """A run with LoRA, its recipe, and the exported model that it started from."""

    case: Case
    runs: Runs
    name: str
    base: Path

    @property
    def run(self) -> RunSource:
        source = open_source(str(self.runs.folder / self.name))
        assert isinstance(source, RunSource)
        return source

    @property
    def recipe(self) -> Recipe:
        recipe = self.run.recipe()
        assert isinstance(recipe, Recipe)
        return recipe

    def load(self, folder: Path | None = None) -> PreTrainedModel:
        model: PreTrainedModel = self.case.theirs.from_pretrained(folder or self.base)
        return model.eval()

    def export(self, folder: Path, *options: str) -> Path:
        words = ["export", str(self.run.folder), str(folder), "--to", "hf", *options]
        assert main(words) == 0
        return folder


@pytest.fixture(scope="module")
def trained(store: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trained]:
    """Each model after some steps of LoRA, the first one after `STEPS`."""
    folder = tmp_path_factory.mktemp("lora")
    runs = Runs(store, folder / "runs")
    found = {}
    for name, case in MODELS.items():
        steps = STEPS if name == "bert" else 4
        options = (
            *("model.dropout=0.0", "train.micro_batch_size=8", "data.held_out=0", *case.model),
            *(f"optimizer.learning_rate={RATE}", "optimizer.beta2=0.999", "schedule.warmup=0.2"),
        )
        assert runs.train(f"{name}-base", *options, "train.steps=2") == 0
        base = folder / name
        assert main(["export", str(runs.folder / f"{name}-base"), str(base), "--to", "hf"]) == 0
        adapter = f"adapter={{type: lora, r: 3, target_modules: [{case.targets}]{case.options}}}"
        more = (f"train.steps={steps}", "tracking.log_every=1", f"optimizer.weight_decay={DECAY}")
        assert runs.train(name, *options, *more, adapter, f"init_from={base}") == 0
        found[name] = Trained(case, runs, name, base)
    return found


def logits(model: torch.nn.Module) -> Tensor:
    ids = torch.arange(5, 65).reshape(2, 30)
    with torch.no_grad():
        found: Tensor = model(input_ids=ids).logits
    return found


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", MODELS)
def test_an_exported_adapter_on_its_base_has_the_logits_of_the_merged_export(
    trained: dict[str, Trained], name: str, way: str, tmp_path: Path
) -> None:
    one = trained[name]
    merged = logits(one.load(one.export(tmp_path / "merged")))
    adapter = one.export(tmp_path / "adapter", "--adapter")
    found = logits(WAYS[way](one.load(), adapter))
    torch.testing.assert_close(found, merged, rtol=0, atol=1e-5)
    assert float((logits(one.load()) - merged).abs().max()) > 1e-3


@pytest.mark.parametrize("way", WAYS)
def test_the_adapter_of_a_classifier_brings_its_head(
    trained: dict[str, Trained], way: str, tmp_path: Path
) -> None:
    write_corpora(tmp_path)
    write_stores(tmp_path)
    base = trained["bert"].base
    options = (
        *(*classifying(tmp_path), "model.encoder.layers=2", "train.steps=6"),
        *("optimizer.learning_rate=1e-2", f"init_from={base}", "adapter={type: lora, r: 2}"),
    )
    runs = trained["bert"].runs
    assert runs.train("classifier", *options, fresh=way == "peft") == 0
    one = Trained(
        Case(AutoModelForSequenceClassification, "query, value"), runs, "classifier", base
    )
    merged = logits(one.load(one.export(tmp_path / "merged")))
    adapter = one.export(tmp_path / "adapter", "--adapter")
    theirs = AutoModelForSequenceClassification.from_pretrained(base, num_labels=len(LABELS))
    found = logits(WAYS[way](theirs.eval(), adapter))
    torch.testing.assert_close(found, merged, rtol=0, atol=1e-5)
    card = (adapter / "README.md").read_text(encoding="utf-8")
    assert (
        f'AutoModelForSequenceClassification.from_pretrained("{base.name}", num_labels=3)' in card
    )


@pytest.mark.parametrize("way", WAYS)
def test_the_losses_and_logits_are_those_of_torch(
    trained: dict[str, Trained], way: str, tmp_path: Path
) -> None:
    one = trained["bert"]
    recipe, inputs = one.recipe, open_inputs(one.recipe)
    first = InitialWeights(inputs.plan, recipe.model, seed=recipe.seed)
    stored = one.run.stored_tensors()
    assert isinstance(recipe.adapter, Lora)
    own = [name for name in stored if ".lora." in name]
    write_adapter(
        tmp_path / "first",
        one.run,
        recipe,
        {**stored, **{name: first[name] for name in own}},
        base=str(one.base),
    )
    model = WAYS[way](one.load(), tmp_path / "first")
    optimizer = adamw(model, rate=RATE, decay=DECAY)
    stream = TrainStream(inputs.train, inputs.batch, data_parallel_rank=0)
    losses = []
    for step, batch in zip(range(STEPS), stream.steps(0), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = RATE * recipe.schedule.factor(step, STEPS)
        optimizer.zero_grad()
        (part,) = batch.micro_batches
        loss = model(**CASES["mlm"].arguments(part)).loss
        loss.backward()
        losses.append(float(loss.detach()))
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    ours = [record["loss"] for record in one.runs.metrics("bert") if record["split"] == "train"]
    assert len(ours) == STEPS
    assert max(abs(mine - other) for mine, other in zip(ours, losses, strict=True)) < 1e-5
    assert float((logits(one.load()) - logits(model)).abs().max()) > 0.1
    merged = logits(one.load(one.export(tmp_path / "merged")))
    torch.testing.assert_close(logits(model.eval()), merged, rtol=0, atol=1e-5)
