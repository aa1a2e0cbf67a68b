"""One example through a model of ptm and through the second implementation of UER-py's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ptm.model.build import build_plan
from ptm.model.plain_model import loaded_model
from ptm.recipe import ModelRecipe
from tests.support.bert_pairs import lay_out_rows
from tests.support.uer_modules import loaded

TOLERANCE = 5e-6
"""Largest difference of logits, relative to the largest logit."""


@dataclass(frozen=True)
class Example:
    """Ids and segment ids of a text (T), and for a decoder the ids that it reads."""

    ids: Tensor
    segments: Tensor
    target: Tensor | None = None

    @classmethod
    def random(cls, words: int, *, decodes: bool = False, segments: int = 2) -> Example:
        """Twenty random tokens, the last eight in the second segment if there are two."""
        generator = torch.Generator().manual_seed(5)
        ids = torch.randint(5, words, (20,), generator=generator)
        numbers = torch.ones_like(ids)
        if not decodes and segments > 1:
            numbers[12:] = 2
        target = torch.randint(5, words, (14,), generator=generator) if decodes else None
        return cls(ids, numbers, target)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """A row of ptm's."""
        row = lay_out_rows([[self.ids]]).tensors
        row |= {"segment_ids": self.segments[None], "pair_positions": torch.tensor([0])}
        if self.target is None:
            return row
        names = ("input_ids", "position_ids", "segment_ids", "example_ids")
        decoder = lay_out_rows([[self.target]]).tensors
        return row | {f"decoder_{name}": decoder[name] for name in names}


def ptm_logits(
    recipe: ModelRecipe,
    tensors: Mapping[str, Tensor],
    example: Example,
    *,
    dtype: torch.dtype = torch.float32,
) -> dict[str, Tensor]:
    """The outputs of ptm's heads: `logits` (T, V), `pair_logits` (2), `class_logits` (labels).

    Of two streams, `forward` and `backward` logits (T, V). Computed in `dtype`.
    """
    size = recipe.tokenizer.load().vocabulary.size
    kind = recipe.objective.type
    names: tuple[str, ...] = ("logits",)
    if "pair_classifier.weight" in tensors:
        names = ("logits", "pair_logits")
    elif kind == "bilm":
        names = ("forward_hidden", "backward_hidden")
    elif kind == "classification":
        names = ("class_logits",)
    plan = build_plan(recipe.model, recipe.objective, vocabulary_size=size, outputs=names)
    known = {name: tensors[name] for name in plan.parameter_shapes}
    inputs = example.tensors
    if kind == "classification":
        last = getattr(recipe.objective, "pooling", None) == "last"
        inputs["class_positions"] = torch.tensor([len(example.ids) - 1 if last else 0])
    with torch.no_grad():
        found = loaded_model(plan, known, source="ptm").to(dtype)(inputs)
    outputs = {name: found[name].reshape(-1, found[name].shape[-1]) for name in names}
    if kind != "bilm":
        return outputs
    matrix = tensors["bilm_unembed.weight"].to(dtype)
    bias = tensors.get("bilm_unembed_bias.bias", torch.zeros(len(matrix))).to(dtype)
    return {
        name.removesuffix("_hidden"): F.linear(hidden, matrix, bias)
        for name, hidden in outputs.items()
    }


def uer_logits(
    config: Mapping[str, Any],
    state: Mapping[str, Tensor],
    example: Example,
    *,
    dtype: torch.dtype = torch.float32,
    **options: Any,
) -> dict[str, Tensor]:
    """The same of UER-py's model; `options` as of `loaded`."""
    target = None if example.target is None else example.target[None]
    with torch.no_grad():
        model = loaded(config, state, **options).to(dtype)
        found = model(example.ids[None], example.segments[None], target)
    return {name: one.reshape(-1, one.shape[-1]) for name, one in found.items() if name != "hidden"}


def difference(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> float:
    """The largest difference, relative to the largest logit."""
    assert found.keys() == expected.keys()
    largest = max(float(one.abs().max()) for one in expected.values())
    return max(float((found[name] - one).abs().max()) for name, one in expected.items()) / largest
