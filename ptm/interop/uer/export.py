"""Write a checkpoint that UER-py and TencentPretrain load, with its config and vocabulary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ptm.errors import UserError
from ptm.interop.folders import new_folder
from ptm.interop.sources.base import ModelSource
from ptm.interop.uer import two_stack_names, two_stacks
from ptm.interop.uer.config import encoder_format, uer_config
from ptm.interop.uer.names import POSITIONS, SEGMENTS, to_uer
from ptm.recipe import ModelRecipe, recipe_yaml

_ROWS = 3
"""Rows of every UER-py segment table: padding, first and second segment."""


def export_to_uer(source: ModelSource, out: Path) -> None:
    """Write model.bin, config.json, recipe.yaml and the vocabulary to the new folder `out`.

    Raises UserError if `out` exists or UER-py cannot express the model.
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
    except UserError as error:
        raise UserError(f"{source.folder}: {error}") from error
    files = recipe.tokenizer.huggingface_files(recipe.tokenizer.load().vocabulary)
    if not files:
        raise UserError(
            f"{source.folder}: UER-py has no tokenizer for a tokenizer.json (tokenizer.type: "
            f"{recipe.tokenizer.type}). Use --to hf."
        )
    with new_folder(out) as aside:
        whole = {name: tensor.contiguous() for name, tensor in theirs.items()}
        torch.save(whole, aside / "model.bin")
        text = json.dumps(config, indent=2, ensure_ascii=False)
        (aside / "config.json").write_text(text + "\n", encoding="utf-8")
        for name, content in files.items():
            (aside / name).write_bytes(content)
        (aside / "recipe.yaml").write_text(recipe_yaml(recipe), encoding="utf-8")


def _converted(
    recipe: ModelRecipe, tensors: dict[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return UER-py's config and state dict. Raises UserError if UER-py cannot express them."""
    model, objective = recipe.model, recipe.objective
    if model.decoder is not None:
        config = two_stacks.config_of(model, objective)
        return config, two_stack_names.to_uer(tensors, model, objective, config)
    config = uer_config(model, objective, pairs="pair_classifier.weight" in tensors)
    return config, to_uer(_with_uer_tables(tensors, recipe), encoder_format(config), config)


def _with_uer_tables(tensors: dict[str, Tensor], recipe: ModelRecipe) -> dict[str, Tensor]:
    """Move the positions to start at row 0 and pad the segment table to three rows."""
    found = dict(tensors)
    offset = recipe.model.embedding.position_offset
    if offset:
        kept = found[POSITIONS][offset:]
        found[POSITIONS] = torch.cat((kept, torch.zeros(offset, kept.shape[1])))
    if SEGMENTS in found:
        segments = found[SEGMENTS]
        spare = torch.zeros(_ROWS - len(segments), segments.shape[1])
        found[SEGMENTS] = torch.cat((segments, spare))
    return found
