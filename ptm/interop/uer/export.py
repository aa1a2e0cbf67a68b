"""Write a checkpoint that UER-py and TencentPretrain load, with its config and vocabulary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ptm.components.objectives import Objective
from ptm.errors import UserError
from ptm.interop.folders import new_folder
from ptm.interop.published_recipe import exported_yaml
from ptm.interop.sources.base import ModelSource
from ptm.interop.uer.config import uer_config
from ptm.interop.uer.expressible import check_expressible
from ptm.interop.uer.names import to_uer
from ptm.interop.uer.norms import norm_note
from ptm.interop.uer.tables import check_waves, tables_to_uer
from ptm.recipe import ModelRecipe
from ptm.recipe.saved_files import TARGET_TOKENIZER
from ptm.text.tokenizers import TokenizerConfig


def export_to_uer(source: ModelSource, out: Path) -> tuple[str, ...]:
    """Write model.bin, config.json, recipe.yaml and the vocabularies to the new folder `out`.

    Returns one sentence for each way in which UER-py computes something else. Raises UserError if
    `out` exists or UER-py cannot express the model.
    """
    recipe = source.recipe()
    tensors = source.tensors()
    if not source.has_head(tensors.keys()):
        raise UserError(
            f"{source.folder}: the model is an encoder without the head of its objective, which "
            "every UER-py checkpoint has. Use --to hf, which exports the encoder alone."
        )
    try:
        config, theirs = _converted(recipe, tensors)
        files = _vocabularies(recipe)
    except UserError as error:
        raise UserError(f"{source.folder}: {error}") from error
    with new_folder(out) as aside:
        whole = {name: tensor.contiguous() for name, tensor in theirs.items()}
        torch.save(whole, aside / "model.bin")
        text = json.dumps(config, indent=2, ensure_ascii=False)
        (aside / "config.json").write_text(text + "\n", encoding="utf-8")
        for name, content in files.items():
            (aside / name).parent.mkdir(exist_ok=True)
            (aside / name).write_bytes(content)
        (aside / "recipe.yaml").write_text(exported_yaml(recipe), encoding="utf-8")
    note = norm_note(recipe.model, tensors)
    return () if note is None else (note,)


def _converted(
    recipe: ModelRecipe, tensors: dict[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return UER-py's config and state dict. Raises UserError if UER-py cannot express them."""
    pairs = "pair_classifier.weight" in tensors
    objective, tensors = _without_output_scale(recipe, tensors)
    config = uer_config(recipe.model, objective, pairs=pairs)
    check_expressible(recipe.model, objective, config, pairs=pairs)
    return config, to_uer(tables_to_uer(tensors, recipe.model), config)


def _without_output_scale(
    recipe: ModelRecipe, tensors: dict[str, Tensor]
) -> tuple[Objective, dict[str, Tensor]]:
    """Move the scale of the hidden states before the output layer into the tensors before it.

    These are an output matrix of its own, or the norm after the last layer. A model without both
    keeps the scale, which UER-py cannot express.
    """
    objective, model = recipe.objective, recipe.model
    head = getattr(objective, "head", None)
    if not getattr(head, "scaled", False):
        return objective, tensors
    side = "encoder" if model.decoder is None else "decoder"
    names = ["lm_unembed.weight"]
    if names[0] not in tensors:
        names = [f"{side}_norm.{kind}" for kind in ("weight", "bias")]
    moved = {
        name: tensors[name] * model.encoder.hidden_size**-0.5 for name in names if name in tensors
    }
    if not moved:
        return objective, tensors
    unscaled = head.model_copy(update={"scaled": False})  # type: ignore[union-attr]
    return objective.model_copy(update={"head": unscaled}), tensors | moved


def _vocabularies(recipe: ModelRecipe) -> dict[str, bytes]:
    """Return the content of the vocabulary files by name.

    Raises UserError if UER-py has no such tokenizer, or other positions with it.
    """
    found = _files(recipe.tokenizer, "tokenizer")
    check_waves(recipe.model, recipe.tokenizer.load().vocabulary.special_id("pad"))
    model = recipe.model
    if model.decoder is None or model.decoder_embedding.shared:
        return found
    target = _files(recipe.target_tokenizer or recipe.tokenizer, TARGET_TOKENIZER)
    return found | {f"{TARGET_TOKENIZER}/{name}": content for name, content in target.items()}


def _files(tokenizer: TokenizerConfig, key: str) -> dict[str, bytes]:
    files = tokenizer.huggingface_files(tokenizer.load().vocabulary)
    if not files:
        raise UserError(
            f"UER-py has no tokenizer for a tokenizer.json ({key}.type: {tokenizer.type}). Use "
            "--to hf."
        )
    return files
