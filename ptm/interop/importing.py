"""`ptm import`: others' weights as a folder that `init_from`, evaluate and fill can load."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml
from safetensors.torch import save_file
from torch import Tensor

from ptm.errors import UserError
from ptm.interop.hf.folder import HuggingFaceFolder
from ptm.interop.new_folder import new_folder
from ptm.interop.source import RECIPE, TOKENIZER, WEIGHTS, completed_recipe
from ptm.model.build import build_plan, meta_model
from ptm.nn.word_embedding import WORD_KEY
from ptm.recipe import Recipe


def import_from_huggingface(source: str, out: Path) -> int:
    """Write `out`; return the number of parameters. Raises UserError for what cannot be read."""
    if not Path(source).is_dir():
        raise UserError(f'"{source}" is not a folder with config.json, vocab.txt and weights.')
    folder = HuggingFaceFolder(Path(source))
    data = folder.recipe_data()
    tensors = folder.canonical()
    _refuse_other_shapes(completed_recipe(dict(data), name=source), tensors, source)
    vocab = Path(data["tokenizer"]["vocab"])
    data["tokenizer"]["vocab"] = str(out / TOKENIZER / vocab.name)
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    with new_folder(out) as aside:
        (aside / TOKENIZER).mkdir()
        shutil.copyfile(vocab, aside / TOKENIZER / vocab.name)
        (aside / RECIPE).write_text(f"# Imported from {source}\n{text}", encoding="utf-8")
        save_file({name: t.contiguous().clone() for name, t in tensors.items()}, aside / WEIGHTS)
    return sum(tensor.numel() for tensor in tensors.values())


def _refuse_other_shapes(recipe: Recipe, tensors: dict[str, Tensor], source: str) -> None:
    """Raise UserError unless the weights are those of the model that the config describes.

    Only the head may be missing.
    """
    vocabulary = recipe.tokenizer.load().vocabulary
    size, offset = vocabulary.size, recipe.model.embedding.position_offset
    if offset not in (0, vocabulary.special_id("pad") + 1):
        raise UserError(
            f"{source}: config.json says pad_token_id = {offset - 1}, after which positions begin, "
            f"but {vocabulary.specials['pad']} has the id {vocabulary.special_id('pad')} in the "
            "vocabulary."
        )
    plan = build_plan(recipe.model, recipe.objective, vocabulary_size=size)
    head = {step.key for step in recipe.objective.steps(recipe.model.shape(size))} - {WORD_KEY}
    for name, parameter in meta_model(plan).named_parameters():
        if name not in tensors:
            if name.split(".")[0] not in head:
                raise UserError(f"{source}: the weights lack what is here called {name}.")
        elif tensors[name].shape != parameter.shape:
            raise UserError(
                f"{source}: what is here called {name} has the shape "
                f"{tuple(tensors[name].shape)}; config.json and the vocabulary ({size} tokens) say "
                f"{tuple(parameter.shape)}."
            )
