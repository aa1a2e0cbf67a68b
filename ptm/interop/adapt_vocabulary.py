"""`ptm vocab adapt`: give a model another vocabulary. Also finds vocabularies by path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor

from ptm.data.packing import RowSize
from ptm.errors import UserError
from ptm.files.user_files import read_json
from ptm.interop.folders import new_folder
from ptm.interop.hf.io.tokenizer_folder import HuggingFaceTokenizer
from ptm.interop.import_model import write_imported
from ptm.interop.sources.open import open_source
from ptm.model.build import build_plan
from ptm.recipe import DataRecipe, ModelRecipe, recipe_from_data
from ptm.recipe.model_block import ModelBlock
from ptm.recipe.model_recipe import TokenizerRecipe
from ptm.recipe.source import RecipeSource
from ptm.rng import seed_of
from ptm.text.tokenizers import Tokenizer, TokenizerConfig
from ptm.text.tokenizers.files import block_with_copies
from ptm.text.vocabulary_training import TrainedVocabulary

NewRows = Literal["pieces", "mean", "normal"]
"""Initial values of the rows of new tokens.

`pieces`: the mean of the rows of the pieces that the old tokenizer splits the token into, or as
`mean` if no piece is known. `mean`: the mean of all kept rows. `normal`: N(0, 0.02), biases zero.
"""

_MODEL_BLOCKS = ("tokenizer", "target_tokenizer", "model", "objective")
_BLOCK = "tokenizer.yaml"
_STD = 0.02


@dataclass(frozen=True)
class Adapted:
    """Counts of vocabulary rows in an adapted model."""

    size: int
    """Tokens in the new vocabulary."""
    kept: int
    """Tokens whose row was copied from the old vocabulary."""
    new: int
    """Tokens with a newly initialised row."""
    from_pieces: int
    """Those new tokens whose row is the mean of their pieces."""
    left: int
    """Tokens of the old vocabulary whose row was dropped."""
    parameters: int
    """Values in the whole adapted model."""


def write_vocabulary(out: Path, trained: TrainedVocabulary) -> dict[str, Any]:
    """Write the vocabulary files and their `tokenizer` block to the new folder `out`.

    Returns the block. Raises UserError if `out` exists or cannot be written.
    """
    names = iter(trained.files)
    block = {
        key: str(out / next(names)) if value is None else value
        for key, value in trained.block.items()
    }
    block["size"] = trained.size
    with new_folder(out) as aside:
        for name, content in trained.files.items():
            (aside / name).write_bytes(content)
        (aside / _BLOCK).write_text(yaml.safe_dump(block, sort_keys=False), encoding="utf-8")
    return block


def find_tokenizer(path: str, options: Sequence[str] = ()) -> TokenizerConfig:
    """Return the config of the tokenizer at `path`.

    `path` is an output folder of `ptm vocab train`, a model, a recipe or a vocabulary file.
    `options` are KEY=VALUE overrides of the `tokenizer` block. Raises UserError if no tokenizer is
    found.
    """
    data = {"tokenizer": _block_at(path)}
    overrides = [f"tokenizer.{option}" for option in options]
    return recipe_from_data(data, TokenizerRecipe, name=path, overrides=overrides).tokenizer


def _block_at(path: str) -> dict[str, Any]:
    place = Path(path)
    if (place / _BLOCK).is_file():
        block = RecipeSource.read(str(place / _BLOCK)).data
        return block_with_copies(block, place)
    if place.is_dir():
        if (place / "tokenizer_config.json").exists() and not (place / "config.json").exists():
            return dict(HuggingFaceTokenizer(place, {}).block)
        return dict(open_source(path).recipe_data()["tokenizer"])
    if not place.is_file():
        raise UserError(f'"{path}": no vocabulary, model or recipe with this path exists.')
    if place.suffix in (".yaml", ".yml"):
        data = RecipeSource.read(path).data
        if not isinstance(data.get("tokenizer"), dict):
            raise UserError(f"{path}: has no `tokenizer` block.")
        return dict(data["tokenizer"])
    if place.suffix == ".model":
        return {"type": "sentencepiece", "model": path}
    if place.suffix == ".json" and _is_pipeline(place):
        return {"type": "huggingface", "file": path}
    if place.suffix == ".json":
        return {"type": "bpe", "vocab": path, "merges": str(place.with_name("merges.txt"))}
    return {"type": "wordpiece", "vocab": path}


def _is_pipeline(path: Path) -> bool:
    """Whether a JSON file is a tokenizer.json, and not a map of tokens to ids.

    Raises UserError if it cannot be read.
    """
    content = read_json(path)
    return isinstance(content, dict) and isinstance(content.get("model"), dict)


def adapt(
    path: str, out: Path, *, vocabulary: str, options: Sequence[str], new_rows: NewRows
) -> Adapted:
    """Write the model at `path` with another vocabulary to `out`, in the format of `ptm import`.

    `vocabulary` and `options` are the arguments of `find_tokenizer`. Raises UserError if the
    vocabularies are the same or share only special tokens, or if `out` exists.
    """
    source = open_source(path)
    recipe = source.recipe()
    old = recipe.tokenizer.load()
    config = find_tokenizer(vocabulary, options)
    new = config.load()
    shortest = recipe.objective.min_sequence_length
    size = recipe.data.row_size if isinstance(recipe, DataRecipe) else RowSize(shortest, shortest)
    recipe.objective.check_vocabulary(new.vocabulary, size)
    if new.vocabulary.tokens == old.vocabulary.tokens:
        raise UserError(
            f"{vocabulary}: has the same tokens as {path}, in the same order. The model needs no "
            "adaptation."
        )
    rows = rows_of(old, new)
    pieces = _pieces_of_new_tokens(old, new, rows) if new_rows == "pieces" else {}
    ordinary = np.isin(np.flatnonzero(rows >= 0), new.vocabulary.ordinary_ids)
    if not ordinary.any() and not pieces:
        raise UserError(
            f"{path}: has no token in common with {vocabulary} except special tokens, so no "
            "trained word embedding would be kept. Check that tokenizer.lowercase is the same in "
            "both."
        )
    whole = source.tensors()
    bound = vocabulary_tensors(recipe, old.vocabulary.size)
    tensors = {
        name: _adapt_tensor(name, tensor, rows, new_rows=new_rows, pieces=pieces)
        if name in bound
        else tensor
        for name, tensor in whole.items()
    }
    block = config.model_dump(mode="json", exclude_none=True) | {"size": new.vocabulary.size}
    data = {key: value for key, value in source.recipe_data().items() if key in _MODEL_BLOCKS}
    data["model"] = _without_unused_rows(data["model"], of_target=recipe.target_tokenizer is None)
    heading = f"{path} with the vocabulary of {vocabulary}"
    write_imported(out, {**data, "tokenizer": block}, tensors, heading=heading)
    kept = int((rows >= 0).sum())
    return Adapted(
        size=new.vocabulary.size,
        kept=kept,
        new=new.vocabulary.size - kept,
        from_pieces=len(pieces),
        left=old.vocabulary.size - len(set(rows[rows >= 0].tolist())),
        parameters=sum(tensor.numel() for tensor in tensors.values()),
    )


def rows_of(old: Tokenizer, new: Tokenizer) -> NDArray[np.int64]:
    """Return the old id for each new id, (V',); -1 for new tokens.

    Special tokens are matched by role, all others by text.
    """
    theirs = old.vocabulary.ids
    rows = np.array([theirs.get(token, -1) for token in new.vocabulary.tokens], dtype=np.int64)
    for role, token in new.vocabulary.specials.items():
        before = old.vocabulary.specials.get(role)
        if token in new.vocabulary.ids and before in theirs:
            rows[new.vocabulary.ids[token]] = theirs[before]
    return rows


def _pieces_of_new_tokens(
    old: Tokenizer, new: Tokenizer, rows: NDArray[np.int64]
) -> dict[int, list[int]]:
    """Map new ids without an old row to the old ids of the token's text.

    Unknown and special pieces are dropped; a token of which no piece is left is absent.
    """
    ordinary = set(new.vocabulary.ordinary_ids.tolist())
    lacking = [index for index in np.flatnonzero(rows < 0).tolist() if index in ordinary]
    texts = [new.config.text_of(new.vocabulary.tokens[index]) for index in lacking]
    known = set(old.vocabulary.ordinary_ids.tolist())
    found = {}
    for index, ids in zip(lacking, old.encode(texts), strict=True):
        whole = [i for i in ids if i in known]
        if whole:
            found[index] = whole
    return found


def vocabulary_tensors(recipe: ModelRecipe, size: int) -> set[str]:
    """Names of the tensors with one row per token.

    If targets have their own vocabulary, only the source side's tensors are returned.
    """
    target = recipe.target_tokenizer
    fixed = target.load(key="target_tokenizer").vocabulary.size if target else None

    block = recipe.model.model_dump(exclude_unset=True)
    model = ModelBlock.model_validate(_without_unused_rows(block, of_target=target is None))

    def shapes(tokens: int) -> Mapping[str, tuple[int, ...]]:
        return build_plan(
            model,
            recipe.objective,
            vocabulary_size=tokens,
            target_vocabulary_size=fixed,
        ).parameter_shapes

    # Exactly these tensors change their shape when the vocabulary grows by one token.
    smaller, larger = shapes(size), shapes(size + 1)
    return {name for name, shape in smaller.items() if larger[name] != shape}


def _without_unused_rows(block: Mapping[str, Any], *, of_target: bool) -> dict[str, Any]:
    """A recipe's `model` block whose tables have one row per token.

    `of_target`: also the decoder's own table.
    """
    keys = ("embedding", "target_embedding") if of_target else ("embedding",)
    return {
        key: {name: option for name, option in value.items() if name != "rows"}
        if key in keys and value
        else value
        for key, value in block.items()
    }


def _adapt_tensor(
    name: str,
    tensor: Tensor,
    rows: NDArray[np.int64],
    *,
    new_rows: NewRows,
    pieces: dict[int, list[int]],
) -> Tensor:
    """(V, …) -> (V', …): copy the kept rows and initialise the new ones by `new_rows`."""
    # kept: new ids whose row is copied; taken: these rows; filled (V', ...): the result.
    kept = torch.from_numpy(np.flatnonzero(rows >= 0))
    taken = tensor[torch.from_numpy(rows[rows >= 0])]
    shape = (len(rows), *tensor.shape[1:])
    if new_rows == "normal":
        generator = torch.Generator().manual_seed(seed_of("vocab adapt", name))
        first = torch.randn(shape, generator=generator) * _STD
        # Biases start at zero, as in a newly initialised model.
        filled = torch.zeros(shape) if tensor.dim() == 1 else first
    else:
        filled = taken.mean(dim=0).expand(shape).clone()
    if pieces:
        filled[list(pieces)] = _group_means(tensor, list(pieces.values()))
    filled[kept] = taken
    return filled


def _group_means(tensor: Tensor, groups: Sequence[Sequence[int]]) -> Tensor:
    """(V, …) -> (G, …): for each group of row numbers, the mean of these rows."""
    lengths = torch.tensor([len(group) for group in groups])
    group_of = torch.repeat_interleave(torch.arange(len(groups)), lengths)
    rows = tensor[torch.tensor([index for group in groups for index in group])]
    summed = torch.zeros(len(groups), *tensor.shape[1:]).index_add_(0, group_of, rows)
    return summed / lengths.reshape(-1, *[1] * (tensor.dim() - 1))
