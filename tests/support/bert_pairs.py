"""Pairs of BERTs, ptm's and transformers', with equal random weights, rows of text, differences.

No parameter has a value that would hide a mistake: norms are not 1 and 0, biases are not 0, tables
are as small as after a training, matrices are large enough that attention is not uniform, and the
output is scaled so that the largest logit is 5.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor, nn

from ptm.interop.hf.io.export import export_to_huggingface
from ptm.interop.sources.base import ModelSource
from ptm.interop.sources.open import open_source
from ptm.model.build import build_plan
from ptm.model.initial_weights import norm_parameters
from ptm.model.plain_model import PlainModel, loaded_model, meta_model
from ptm.plan import Plan
from ptm.recipe import ModelRecipe, Recipe, recipe_from_data
from ptm.recipe.saved_files import RECIPE, TOKENIZER, WEIGHTS
from ptm.text.tokenizers import Tokenizer

TOLERANCE = 5e-6
"""Largest relative difference in fp32 between two programs that sum in different orders."""
LARGEST_LOGIT = 5.0
POSITIONS = 128

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Size:
    """Layers, width and heads of an encoder; its feed-forward size is four times the width."""

    layers: int
    width: int
    heads: int


TINY, MINI, BASE = Size(2, 128, 2), Size(4, 256, 4), Size(12, 768, 12)


def blocks_of(
    vocab: Path,
    size: Size,
    *,
    activation: str = "gelu",
    tied: bool = True,
    segment: bool = True,
    bias: bool = True,
    epsilon: float = 1e-12,
    tokenizer: str = "wordpiece",
    lowercase: bool = True,
) -> dict[str, Any]:
    """The recipe blocks that define a BERT with a masked language model head."""
    parts = ["word", "position", *(["segment"] if segment else [])]
    return {
        "tokenizer": {"type": tokenizer, "vocab": str(vocab), "lowercase": lowercase},
        "model": {
            "embedding": {"parts": parts, "positions": POSITIONS},
            "encoder": {
                "type": "transformer",
                "layers": size.layers,
                "hidden_size": size.width,
                "heads": size.heads,
                "feed_forward_size": 4 * size.width,
                "activation": activation,
                "norm_epsilon": epsilon,
            },
        },
        "objective": {"type": "mlm", "head": {"tied": tied, "bias": bias}},
    }


def recipe_of(blocks: Mapping[str, Any]) -> Recipe:
    """A complete recipe with the given blocks of a model."""
    rest = {
        "name": "model",
        "data": {"corpus": "none", "layout": "documents", "store": "", "sequence_length": 64},
        "optimizer": {"type": "adamw", "learning_rate": 1e-4},
        "schedule": {"type": "linear"},
        "train": {"steps": 10, "global_batch_size": 8, "micro_batch_size": 8},
    }
    return recipe_from_data({**rest, **blocks}, Recipe, name="blocks")


def plan_of(recipe: ModelRecipe) -> Plan:
    """The plan of a recipe; for objective `lm`, the part that computes the logits."""
    size = recipe.tokenizer.load().vocabulary.size
    outputs = ("logits",) if recipe.objective.type == "lm" else None
    return build_plan(recipe.model, recipe.objective, vocabulary_size=size, outputs=outputs)


def random_value(shape: Sequence[int], *, is_norm: bool, is_table: bool, seed: int) -> Tensor:
    """A random tensor: near 1 for norms, near 0 for biases, variance-preserving for matrices."""
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(tuple(shape), generator=generator)
    if len(shape) == 1:
        return 1.0 + 0.25 * normal if is_norm else 0.25 * normal
    return 0.02 * normal if is_table else normal / shape[1] ** 0.5


def _is_table(name: str) -> bool:
    return "embedding" in name and "projection" not in name


def random_weights(plan: Plan) -> dict[str, Tensor]:
    """Canonical name -> random value, for each parameter of the plan."""
    model = meta_model(plan)
    norms = {name for name in norm_parameters(model) if name.endswith("weight")}
    return {
        name: random_value(
            parameter.shape, is_norm=name in norms, is_table=_is_table(name), seed=seed
        )
        for seed, (name, parameter) in enumerate(model.named_parameters())
    }


MLM_HEAD = ("mlm_transform.norm.weight", "mlm_transform.norm.bias", "mlm_bias.bias")


def scaled(plan: Plan, weights: Tensors, rows: Rows) -> dict[str, Tensor]:
    """`weights` with the head scaled so that the largest logit on `rows` is LARGEST_LOGIT."""
    largest = float(ptm_logits(loaded_model(plan, weights, source="random"), rows).abs().max())
    factor = LARGEST_LOGIT / largest
    return {name: w * factor if name in MLM_HEAD else w for name, w in weights.items()}


def write_model(folder: Path, blocks: Mapping[str, Any], weights: Tensors) -> ModelSource:
    """Write a model to `folder` in the layout of `ptm import`, and open it."""
    (folder / TOKENIZER).mkdir(parents=True)
    shutil.copyfile(blocks["tokenizer"]["vocab"], folder / TOKENIZER / "vocab.txt")
    (folder / RECIPE).write_text(yaml.safe_dump(dict(blocks)), encoding="utf-8")
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, folder / WEIGHTS)
    return open_source(str(folder))


@dataclass(frozen=True)
class Rows:
    """Input tensors of a model, (B, T), and the examples that they were made of."""

    tensors: dict[str, Tensor]
    examples: tuple[Tensor, ...]

    @property
    def attention_mask(self) -> Tensor:
        """(B, T): 1 for tokens, 0 for padding."""
        return (self.tensors["example_ids"] > 0).long()


def examples_of(tokenizer: Tokenizer, texts: Sequence[str], *, longest: int) -> list[Tensor]:
    """Token ids of `[CLS] text [SEP]` for each text, truncated to `longest` tokens."""
    cls, sep = (tokenizer.vocabulary.special_id(role) for role in ("cls", "sep"))
    cut = (ids[: longest - 2] for ids in tokenizer.encode(texts))
    return [torch.tensor([cls, *ids, sep]) for ids in cut]


def lay_out_rows(rows: Sequence[Sequence[Tensor]], *, pad: int = 0) -> Rows:
    """Rows of examples, padded to the width of the widest row; all tokens are predicted."""
    columns = max(sum(map(len, row)) for row in rows)
    names = ("input_ids", "position_ids", "segment_ids", "example_ids")
    grids = {name: torch.zeros(len(rows), columns, dtype=torch.int64) for name in names}
    grids["input_ids"].fill_(pad)
    for index, row in enumerate(rows):
        at = 0
        for number, ids in enumerate(row, start=1):
            span = (index, slice(at, at + len(ids)))
            grids["input_ids"][span] = ids
            grids["position_ids"][span] = torch.arange(len(ids))
            grids["segment_ids"][span] = 1
            grids["example_ids"][span] = number
            at += len(ids)
    predicted = (grids["example_ids"] > 0).flatten().nonzero().flatten()
    return Rows(
        {**grids, "predicted_positions": predicted}, tuple(ids for row in rows for ids in row)
    )


def packed(examples: Sequence[Tensor], *, columns: int) -> Rows:
    """Pack examples in order into rows of at most `columns` tokens."""
    rows: list[list[Tensor]] = [[]]
    for ids in examples:
        if sum(map(len, rows[-1])) + len(ids) > columns:
            rows.append([])
        rows[-1].append(ids)
    return lay_out_rows(rows)


def ptm_logits(model: Callable[[dict[str, Tensor]], Mapping[str, Tensor]], rows: Rows) -> Tensor:
    """(N, V): logits of all tokens, row after row."""
    with torch.no_grad():
        logits = model(rows.tensors)["logits"]
    if logits.dim() == 3:  # (B, T, V)
        return logits.flatten(0, 1)[rows.tensors["predicted_positions"]]
    return logits


def hf_logits_alone(model: nn.Module, examples: Sequence[Tensor]) -> Tensor:
    """(N, V): logits of transformers' model, computed for one example at a time."""
    with torch.no_grad():
        return torch.cat([model(ids[None]).logits[0] for ids in examples])


def difference(ours: Tensor, theirs: Tensor) -> float:
    """The largest absolute difference, relative to the largest logit."""
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / theirs.abs().max())


@dataclass(frozen=True)
class Pair:
    """One model in ptm (`ours`) and exported and loaded by transformers (`theirs`)."""

    blocks: Mapping[str, Any]
    weights: dict[str, Tensor]
    tokenizer: Tokenizer
    examples: list[Tensor]
    ours: PlainModel
    folder: Path
    theirs: nn.Module


def make_pair(folder: Path, blocks: Mapping[str, Any], texts: Sequence[str]) -> Pair:
    """Make a random model, export it to `folder/export` and load it with transformers."""
    from transformers import AutoModelForMaskedLM

    recipe = recipe_of(blocks)
    plan, tokenizer = plan_of(recipe), recipe.tokenizer.load()
    examples = examples_of(tokenizer, texts, longest=48)
    weights = scaled(plan, random_weights(plan), packed(examples, columns=POSITIONS))
    source = write_model(folder / "model", blocks, weights)
    export_to_huggingface(source, folder / "export", weights_format="safetensors")
    return Pair(
        blocks=blocks,
        weights=weights,
        tokenizer=tokenizer,
        examples=examples,
        ours=loaded_model(plan, weights, source="random"),
        folder=folder / "export",
        theirs=AutoModelForMaskedLM.from_pretrained(folder / "export").eval(),
    )
