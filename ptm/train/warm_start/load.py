"""`init_from`: the weights of another model as far as they fit, and the story of what was taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ptm.errors import UserError
from ptm.interop.sources.open import open_source
from ptm.plan import Plan
from ptm.recipe.model_block import ModelBlock
from ptm.text.tokenizers import Tokenizer, TokenizerConfig
from ptm.train.warm_start.compatibility import refuse_other_arithmetic
from ptm.train.warm_start.layers import (
    chosen_layers,
    layers_in,
    layers_taken,
    names_left,
    refuse_layers,
)


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
        taken = layers_taken(self.weights, fresh=self.fresh, left=self.left)
        if self.layers:
            taken = f"the encoder layers {', '.join(map(str, self.layers))} of those there"
        return (
            f"starting from {self.source}: {len(self.weights)} tensors loaded ({taken}); "
            f"fresh: {', '.join(self.fresh) or 'none'}; left: {', '.join(self.left) or 'none'}"
        )


def weights_to_start_from(
    path: str,
    plan: Plan,
    tokenizer: Tokenizer,
    model: ModelBlock,
    *,
    target: TokenizerConfig | None = None,
    every: int | None = None,
    layers: Sequence[int] = (),
) -> Start:
    """The tensors of `path` that the plan of `model` has too.

    `target`: the recipe's target_tokenizer. `every`, `layers`: take every n-th layer of the encoder
    there, or these, one after another.
    Raises UserError for a shared tensor of another shape, for a source with no encoder layer in
    common, for one whose layers compute otherwise, and for one whose vocabulary is another.
    """
    source = open_source(path)
    recipe = source.recipe()
    theirs = recipe.tokenizer.load()
    if theirs.vocabulary.tokens != tokenizer.vocabulary.tokens:
        raise UserError(
            f"init_from: {path}: its vocabulary has other tokens than "
            f"{tokenizer.config.source}, so its embeddings would stand for other words. Use its "
            "own vocabulary, or give it this "
            f"one: `ptm vocab adapt {path} OUT --vocab {tokenizer.config.source}`."
        )
    _refuse_other_targets(path, recipe.target_tokenizer, target)
    everything = found = source.tensors()
    shapes = plan.parameter_shapes
    if every is not None or layers:
        layers = layers or layers_in(found)[::every]
        refuse_layers(path, layers, there=layers_in(found), here=layers_in(shapes))
        found = chosen_layers(found, layers)
    shared = {name: tensor for name, tensor in found.items() if name in shapes}
    for name, tensor in shared.items():
        if tuple(tensor.shape) != shapes[name]:
            raise UserError(
                f"init_from: {path}: {name} has the shape {tuple(tensor.shape)} there and "
                f"{shapes[name]} in this recipe."
            )
    if not any(name.startswith("encoder") for name in shared):
        raise UserError(f"init_from: {path}: no encoder layer could be taken from it.")
    refuse_other_arithmetic(path, recipe.model, model, shared)
    return Start(
        source=path,
        weights=shared,
        fresh=tuple(sorted(shapes.keys() - shared.keys())),
        left=tuple(sorted(names_left(everything, layers) | (found.keys() - shapes.keys()))),
        layers=tuple(layers),
    )


def _refuse_other_targets(
    path: str, theirs: TokenizerConfig | None, ours: TokenizerConfig | None
) -> None:
    """Raise UserError where both have words of their own for targets, and not the same."""
    if theirs is None or ours is None:
        return
    key = "target_tokenizer"
    if theirs.load(key=key).vocabulary.tokens != ours.load(key=key).vocabulary.tokens:
        raise UserError(
            f"init_from: {path}: its target vocabulary has other tokens than {ours.source}, so its "
            "embeddings would stand for other words. Name its own in target_tokenizer."
        )
