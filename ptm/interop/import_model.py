"""`ptm import`: convert weights of other projects to a folder that `ptm` can load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from ptm.errors import UserError
from ptm.interop.folders import check_absent, new_folder
from ptm.interop.hf.io.folder import HuggingFaceFolder
from ptm.interop.hf.io.sentence_transformers import SentenceTransformersFolder
from ptm.interop.hf.io.special_tokens_note import special_tokens_note
from ptm.interop.hub import hub_folder
from ptm.interop.tf.checkpoint import GoogleCheckpoint
from ptm.interop.uer.import_model import UerCheckpoint
from ptm.interop.uer.vocabularies import Options
from ptm.interop.weights_file import write_safetensors
from ptm.model.build import build_plan, head_shape
from ptm.recipe import ModelRecipe, recipe_from_data
from ptm.recipe.saved_files import RECIPE, TARGET_TOKENIZER, TOKENIZER, WEIGHTS, read_recipe_data
from ptm.text.tokenizers.files import block_with_copies, copy_files

_MASKED_HEAD = "mlm_"
"""Prefix of the parameters of the head of masked tokens."""


@dataclass(frozen=True)
class Imported:
    """The result of an import."""

    parameters: int
    """Number of imported values."""
    left_out: tuple[str, ...] = ()
    """Names of source tensors that no parameter of the model corresponds to."""
    notes: tuple[str, ...] = ()
    """Choices that the import made, and what else it left out; one sentence each."""


def import_from_huggingface(source: str, out: Path) -> Imported:
    """Import a Hugging Face model to the new folder `out`.

    `source` is a folder in Hugging Face format or a Hub id. Raises UserError if it cannot be read
    or is not supported, or if `out` exists.
    """
    check_absent(out)
    where = Path(source) if Path(source).is_dir() else hub_folder(source)
    modules = SentenceTransformersFolder.find(where)
    folder = HuggingFaceFolder(where if modules is None else modules.transformer)
    data = folder.recipe_data()
    trained = None
    if (where / RECIPE).exists():
        # An export of `ptm` records the objective that its model was trained with.
        trained = data["objective"] = read_recipe_data(where / RECIPE)["objective"]
    if modules is not None:
        lowercases = bool(data["tokenizer"].get("lowercase", True))
        data["objective"] = modules.objective(trained, lowercases=lowercases)
    tensors = folder.canonical()
    recipe = recipe_from_data(data, ModelRecipe, name=source)
    _check_shapes(recipe, tensors, source)
    left_out = folder.left_out(tensors)
    write_imported(out, data, tensors, heading=f"Imported from {source}")
    notes = []
    if folder.config.get("model_type") is None:
        notes.append(
            f"config.json has no model_type; the tensors are those of {folder.family.name}"
        )
    if recipe.objective.label_set is not None:
        notes.append(
            f"objective {recipe.objective.type} with the labels {recipe.objective.label_set}"
        )
    if folder.head_note is not None:
        notes.append(folder.head_note)
    note = special_tokens_note(where, folder.family, recipe)
    if note is not None:
        notes.append(note)
    rows = recipe.model.embedding.rows
    if rows:
        notes.append(f"model.embedding.rows={rows}, more than the vocabulary has tokens")
    return Imported(_parameters(tensors), tuple(left_out), tuple(notes))


def import_from_uer(
    source: str,
    out: Path,
    *,
    config: Path | None,
    vocab: Path | None,
    options: Options | None = None,
) -> Imported:
    """Import a checkpoint of UER-py or TencentPretrain to the new folder `out`.

    `source` is a checkpoint file or a folder with one. `config` and `vocab` default to files in
    the checkpoint's folder; `options` are keys of blocks of the recipe. Raises UserError if a
    file is missing or the model is not supported, or if `out` exists.
    """
    check_absent(out)
    checkpoint = UerCheckpoint.find(source, config=config, vocab=vocab, options=options or {})
    data = checkpoint.blocks()
    tensors = checkpoint.tensors()
    _check_shapes(recipe_from_data(data, ModelRecipe, name=source), tensors, source)
    write_imported(out, data, tensors, heading=f"Imported from the UER-py checkpoint {source}")
    return Imported(_parameters(tensors), checkpoint.left_out, checkpoint.notes)


def import_from_tensorflow(
    source: str,
    out: Path,
    *,
    config: Path | None,
    vocab: Path | None,
    options: Options | None = None,
) -> Imported:
    """Import one of Google's TensorFlow 1 checkpoints of BERT or ALBERT to the new folder `out`.

    `source` is a folder or the prefix of a checkpoint. `config` and `vocab` default to files in
    the checkpoint's folder; `options` are keys of the block `tokenizer`. Raises UserError if a
    file is missing or damaged or the model is not supported, or if `out` exists.
    """
    check_absent(out)
    blocks = options or {}
    for block in blocks.keys() - {"tokenizer"}:
        raise UserError(
            f"{block}.KEY=VALUE is for models of UER-py. Google's checkpoints record their "
            "objective and have one vocabulary. Remove it."
        )
    tokenizer = blocks.get("tokenizer", {})
    checkpoint = GoogleCheckpoint.find(source, config=config, vocab=vocab, options=tokenizer)
    data = checkpoint.blocks()
    tensors = checkpoint.tensors()
    _check_shapes(recipe_from_data(data, ModelRecipe, name=source), tensors, source)
    write_imported(out, data, tensors, heading=f"Imported from the checkpoint {source}")
    return Imported(_parameters(tensors), tuple(checkpoint.left_out), tuple(checkpoint.notes))


def _parameters(tensors: Mapping[str, Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors.values())


def write_imported(
    out: Path, data: Mapping[str, Any], tensors: Mapping[str, Tensor], *, heading: str
) -> None:
    """Write a model to the new folder `out`: recipe, weights and copies of the tokenizer files.

    `data`: the recipe's blocks. `tensors`: the weights by canonical name. `heading`: a comment for
    the first line of the recipe. Raises UserError if `data` is not a valid recipe, or if `out`
    exists or cannot be written.
    """
    recipe = recipe_from_data(data, ModelRecipe, name=str(out))
    tokenizers = {TOKENIZER: recipe.tokenizer, TARGET_TOKENIZER: recipe.target_tokenizer}
    blocks = {}
    with new_folder(out) as aside:
        for key, tokenizer in tokenizers.items():
            if tokenizer is not None:
                copy_files(tokenizer, aside / key)
                blocks[key] = block_with_copies(data[key], aside / key, named=out / key)
        text = yaml.safe_dump({**data, **blocks}, sort_keys=False, allow_unicode=True)
        (aside / RECIPE).write_text(f"# {heading}\n{text}", encoding="utf-8")
        write_safetensors(aside / WEIGHTS, tensors)


def _check_shapes(recipe: ModelRecipe, tensors: dict[str, Tensor], source: str) -> None:
    """Raise UserError unless the tensors have the names and shapes that the recipe requires.

    A whole head may be missing, but not a part of it.
    """
    vocabulary = recipe.tokenizer.load().vocabulary
    size, offset = vocabulary.size, recipe.model.embedding.position_offset
    # RoBERTa-like encoders number positions from the padding id + 1 on. BART, which has a decoder,
    # starts in row 2 for every vocabulary.
    if recipe.model.decoder is None and offset not in (0, vocabulary.special_id("pad") + 1):
        raise UserError(
            f"{source}: positions start at {offset}, which requires a padding token of id "
            f"{offset - 1}, but {vocabulary.specials['pad']} has the id "
            f"{vocabulary.special_id('pad')} in the vocabulary."
        )
    target = recipe.target_tokenizer
    other = target.load(key=TARGET_TOKENIZER).vocabulary.size if target else None
    plan = build_plan(
        recipe.model, recipe.objective, vocabulary_size=size, target_vocabulary_size=other
    )
    side = head_shape(recipe.model, size, other)
    head = {step.key for step in recipe.objective.operations(side)} - {side.word_key}
    try:
        whole = recipe.objective.has_head(tensors.keys())
    except UserError:
        # One of two heads is there.
        whole = False
    # The pair head may be missing, but the head of masked tokens is whole.
    partly = any(name.startswith(_MASKED_HEAD) for name in tensors)
    for name, shape in plan.parameter_shapes.items():
        if name not in tensors:
            if name.split(".")[0] not in head:
                raise UserError(f"{source}: no tensor corresponds to the parameter {name}.")
            if whole or (partly and name.startswith(_MASKED_HEAD)):
                raise UserError(
                    f"{source}: no tensor corresponds to the parameter {name}, but other tensors "
                    "of its head are there. A head must be there whole or not at all."
                )
        elif tuple(tensors[name].shape) != shape:
            raise UserError(
                f"{source}: the tensor for the parameter {name} has the shape "
                f"{tuple(tensors[name].shape)}, but the config and the vocabulary ({size} tokens) "
                f"require {shape}."
            )
    surplus = sorted(tensors.keys() - plan.parameter_shapes.keys())
    if surplus:
        raise UserError(
            f"{source}: the tensor for {surplus[0]} has no place in the model of the recipe "
            f"(objective {recipe.objective.type})."
        )
