"""Write the adapter of a run as a folder for peft, beside a base model for transformers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ptm.components.adapters.lora import Lora
from ptm.errors import UserError
from ptm.interop.folders import new_folder
from ptm.interop.hf.io.adapter import (
    CONFIG,
    WEIGHTS,
    modules_of,
    peft_config,
    peft_matrices,
    peft_tensors,
    trained_tensors,
)
from ptm.interop.hf.io.export import exported_recipe, family_for
from ptm.interop.hf.io.tokenizer import write_json
from ptm.interop.hub import looks_like_hub_id
from ptm.interop.published_recipe import exported_yaml, last_part
from ptm.interop.sources.base import ModelSource
from ptm.interop.sources.open import open_source
from ptm.interop.sources.run import AveragedSource, RunSource
from ptm.interop.weights_file import write_safetensors
from ptm.model.build import training_plan
from ptm.recipe import Recipe


def export_adapter(
    source: ModelSource, out: Path, *, base: str | None = None
) -> tuple[str, tuple[str, ...]]:
    """Write the adapter of a run and its head as a peft folder; return its base model, and notes.

    `base`: the model of transformers that the adapter belongs to; by default the recipe's
    `init_from`. Raises UserError if the source has no adapter, if `out` exists, or if the base
    model cannot be loaded by transformers or has other weights than the adapter was trained beside.
    """
    recipe = source.recipe()
    adapter = recipe.adapter if isinstance(recipe, Recipe) else None
    if not isinstance(source, RunSource) or not isinstance(adapter, Lora):
        raise UserError(
            f"{source.folder}: --adapter is for runs whose recipe has adapter: {{type: lora}}. "
            "Remove --adapter to export the whole model."
        )
    if isinstance(source, AveragedSource):
        raise UserError(
            "--average cannot be used with --adapter, because the mean of products is not the "
            "product of means. Remove one of them."
        )
    assert isinstance(recipe, Recipe)
    base = _base(source, recipe, base)
    tensors = source.stored_tensors()
    notes = base_notes(base, source, tensors)
    write_adapter(out, source, recipe, tensors, base=base)
    return base, notes


def write_adapter(
    out: Path, source: RunSource, recipe: Recipe, tensors: Mapping[str, Tensor], *, base: str
) -> None:
    """Write the folder of an adapter; `tensors` are all of the adapted model, by canonical name.

    Raises UserError if `out` exists or no family of transformers can hold the model.
    """
    adapter = recipe.adapter
    assert isinstance(adapter, Lora)
    vocabulary = recipe.tokenizer.load().vocabulary
    objective = exported_recipe(recipe, without_crf=False, folder=source.folder)[0].objective
    family = family_for(
        recipe.model_copy(update={"objective": objective}), vocabulary, source=str(source.folder)
    )
    plan = training_plan(recipe, vocabulary_size=vocabulary.size)
    frozen = adapter.frozen(plan, head_is_pretrained=recipe.objective.predicts_tokens)
    own = {name for some in source.updates.values() for one in some for name in (one.a, one.b)}
    head = tensors.keys() - frozen - own

    def convert(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return family.to_huggingface(weights, recipe.model, objective)

    matrices = peft_matrices(tensors, source.updates, convert)
    trained = trained_tensors(tensors, head, source.updates, convert)
    config = peft_config(adapter, matrices, modules_of(trained), base=base)
    with new_folder(out) as aside:
        write_json(aside / CONFIG, config)
        write_safetensors(
            aside / WEIGHTS, peft_tensors(matrices, trained), metadata={"format": "pt"}
        )
        (aside / "recipe.yaml").write_text(exported_yaml(recipe), encoding="utf-8")
        (aside / "README.md").write_text(
            _card(out.name, last_part(base, is_model=True), recipe, loader=family.auto_class),
            encoding="utf-8",
        )


def _base(source: RunSource, recipe: Recipe, given: str | None) -> str:
    """The name of the base model. Raises UserError if transformers cannot load it."""
    assert recipe.start is not None, "an adapter needs init_from"
    base = recipe.start.source if given is None else given
    if (Path(base) / "config.json").is_file() or looks_like_hub_id(base):
        return base
    if given is not None:
        raise UserError(
            f"--base {base}: is neither a folder with config.json nor a model id on the Hub."
        )
    raise UserError(
        f"{source.folder}: the adapter belongs to init_from = {base}, which transformers cannot "
        f"load. Export it (`ptm export {base} BASE --to hf`) and add --base BASE."
    )


def base_notes(base: str, source: ModelSource, tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return a note if the weights of the base model are not on this machine.

    `tensors`: those of the run. Raises UserError if the base model has other frozen weights.
    """
    try:
        found = open_source(base, download=False).tensors()
    except UserError:
        if Path(base).exists():
            raise
        return (
            f"{base} is no folder here, so it was taken as the id of a model on the Hub. It was "
            "not compared with the weights that the adapter was trained beside.",
        )
    frozen = [name for name in tensors if name in found and name.startswith("encoder_")]
    for name in frozen:
        if tensors[name].shape != found[name].shape or not torch.equal(tensors[name], found[name]):
            raise UserError(
                f"{source.folder}: the adapter was trained beside other weights than {base} has "
                f"({name}). Give the model of the recipe's init_from as --base."
            )
    return ()


def _card(name: str, base: str, recipe: Recipe, *, loader: str) -> str:
    """The README.md of the folder."""
    labels = recipe.objective.label_set
    more = "" if labels is None else f", num_labels={len(labels.names)}"
    return (
        f"---\nlibrary_name: peft\nbase_model: {base}\n---\n\n# {name}\n\n"
        f"A LoRA adapter, trained with ptm, recipe `{recipe.name}`.\n\n"
        f"```python\nfrom peft import PeftModel\nfrom transformers import {loader}\n\n"
        f'base = {loader}.from_pretrained("{base}"{more})\n'
        f'model = PeftModel.from_pretrained(base, "{name}")\n```\n'
    )
