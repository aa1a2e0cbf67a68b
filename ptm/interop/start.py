"""`init_from`: the weights of another model as far as they fit, and the story of what was taken."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ptm.encoders import Encoder
from ptm.errors import UserError
from ptm.interop.source import open_source
from ptm.model.build import meta_model
from ptm.plan import Plan
from ptm.text.tokenizers import Tokenizer

_LAYER = re.compile(r"encoder_(\d+)(?=\.)")


@dataclass(frozen=True)
class Start:
    """Weights to begin with. `fresh` keep their first value, `left` had no place here."""

    source: str
    weights: dict[str, Tensor]
    fresh: tuple[str, ...]
    left: tuple[str, ...]
    layers: tuple[int, ...] = ()
    """The layers of the source that became the first, second ... here, where some were chosen."""

    def story(self) -> dict[str, Any]:
        """For run.json."""
        return {
            "source": self.source,
            "loaded": sorted(self.weights),
            **({"layers": list(self.layers)} if self.layers else {}),
            "fresh": list(self.fresh),
            "left": list(self.left),
        }

    def __str__(self) -> str:
        return (
            f"starting from {self.source}: {len(self.weights)} tensors loaded"
            f"{f', of its layers {list(self.layers)}' if self.layers else ''}; "
            f"fresh: {', '.join(self.fresh) or 'none'}; left: {', '.join(self.left) or 'none'}"
        )


def weights_to_start_from(
    path: str,
    plan: Plan,
    tokenizer: Tokenizer,
    encoder: Encoder,
    *,
    every: int | None = None,
    layers: Sequence[int] = (),
) -> Start:
    """The tensors of `path` that the plan, built on `encoder`, has too.

    `every`, `layers`: take every n-th layer of the encoder there, or these, one after another.
    Raises UserError for a shared tensor of another shape, for a source with no encoder layer in
    common, for one whose layers compute otherwise, and for one whose vocabulary is another.
    """
    source = open_source(path)
    everything = found = source.tensors()
    shapes = {name: tuple(p.shape) for name, p in meta_model(plan).named_parameters()}
    if every is not None or layers:
        layers = layers or _layers_in(found)[::every]
        _refuse_layers(path, layers, there=_layers_in(found), here=_layers_in(shapes))
        found = _chosen(found, layers)
    shared = {name: tensor for name, tensor in found.items() if name in shapes}
    for name, tensor in shared.items():
        if tuple(tensor.shape) != shapes[name]:
            hint = ""
            if name in ("word_embedding.weight", "mlm_bias.bias", "mlm_unembed.weight"):
                hint = " (another vocabulary: use the source's own vocab)"
            raise UserError(
                f"init_from: {path}: {name} has the shape {tuple(tensor.shape)} there and "
                f"{shapes[name]} in this recipe{hint}."
            )
    if not any(name.startswith("encoder") for name in shared):
        raise UserError(f"init_from: {path}: no encoder layer could be taken from it.")
    recipe = source.recipe()
    _refuse_other_arithmetic(path, recipe.model.encoder, encoder)
    theirs = recipe.tokenizer.load()
    if theirs.vocabulary.tokens != tokenizer.vocabulary.tokens:
        raise UserError(
            f"init_from: {path}: its vocabulary has other tokens than {tokenizer.config.vocab}, so "
            "its embeddings would stand for other words. Use its own vocabulary."
        )
    return Start(
        source=path,
        weights=shared,
        fresh=tuple(sorted(shapes.keys() - shared.keys())),
        left=tuple(sorted(_left(everything, layers) | (found.keys() - shapes.keys()))),
        layers=tuple(layers),
    )


def _layers_in(names: Iterable[str]) -> list[int]:
    return sorted({int(match[1]) for name in names if (match := _LAYER.match(name))})


def _refuse_layers(
    path: str, chosen: Sequence[int], *, there: Sequence[int], here: Sequence[int]
) -> None:
    """Raise UserError unless each layer here gets one from there."""
    for layer in chosen:
        if layer not in there:
            raise UserError(
                f"init_from: {path}: has no encoder layer {layer}; it has {len(there)}, counted "
                "from 0."
            )
    if len(chosen) != len(here):
        raise UserError(
            f"init_from: takes the layers {list(chosen)} of {path}, which are {len(chosen)}, but "
            f"this recipe's encoder has {len(here)}: choose as many."
        )


def _left(names: Iterable[str], chosen: Sequence[int]) -> set[str]:
    """Names of the layers that were not chosen, where some were."""
    matches = [match for name in names if (match := _LAYER.match(name))] if chosen else []
    return {match.string for match in matches if int(match[1]) not in chosen}


def _chosen(found: Mapping[str, Tensor], layers: Sequence[int]) -> dict[str, Tensor]:
    """The tensors with layers numbered anew; those of layers that were not chosen are dropped."""
    renamed = {}
    for name, tensor in found.items():
        match = _LAYER.match(name)
        if match is None:
            renamed[name] = tensor
        for index, layer in enumerate(layers if match else ()):
            if match and int(match[1]) == layer:
                renamed[f"encoder_{index:02}{name[match.end() :]}"] = tensor
    return renamed


def _refuse_other_arithmetic(path: str, theirs: Encoder, ours: Encoder) -> None:
    """Raise UserError where tensors of one shape would be used in another way than learnt."""
    if theirs.type != ours.type:
        return
    there, here = theirs.model_dump(), ours.model_dump()
    for key in sorted(there.keys() - {"layers", "norm_epsilon"}):
        if there[key] != here[key]:
            raise UserError(
                f"init_from: {path}: its weights were trained with model.encoder.{key} = "
                f"{there[key]}; this recipe says {here[key]}, under which they mean nothing."
            )
