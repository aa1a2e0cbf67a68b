"""Whether UER-py's format holds all of a model: its config is converted back and compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ptm.components.decoders.transformer import TransformerDecoder
from ptm.components.encoders.transformer import Transformer
from ptm.components.objectives import Objective
from ptm.components.objectives.masked_tokens import MlmHead
from ptm.errors import UserError
from ptm.interop.uer.config import blocks_of
from ptm.recipe import recipe_from_data
from ptm.recipe.model_block import ModelBlock
from ptm.recipe.model_recipe import Architecture

_SHOWN = 3
_NOTHING = "nothing"


def check_expressible(
    model: ModelBlock, objective: Objective, config: Mapping[str, Any], *, pairs: bool
) -> None:
    """Raise UserError naming the options of a model that an import of `config` does not give.

    `config` is what an export writes; `pairs`: whether the model has a sentence-pair head. Options
    of training (dropout, initial weights, data) are not compared.
    """
    tied = bool(config.get("tie_weights", False))
    try:
        blocks = blocks_of(config, pairs=pairs, tied=tied)
    except UserError as error:
        raise UserError(f"UER-py configs cannot express this model: {error}") from error
    back = recipe_from_data(blocks, Architecture, name="the exported model")
    ours, theirs = dict(_options(model, objective)), dict(_options(back.model, back.objective))
    lost = [
        f"{path} = {ours.get(path, _NOTHING)}"
        for path in sorted(ours.keys() | theirs.keys())
        if ours.get(path) != theirs.get(path)
    ]
    if lost:
        more = f" and {len(lost) - _SHOWN} more options" if len(lost) > _SHOWN else ""
        raise UserError(f"UER-py configs cannot express {', '.join(lost[:_SHOWN])}{more}.")


def _options(model: ModelBlock, objective: Objective) -> Iterator[tuple[str, Any]]:
    """Yield the dotted path and value of every option that changes what the model computes."""
    for name, stack in (("model.encoder", model.encoder), ("model.decoder", model.decoder)):
        if stack is not None:
            values = stack.model_dump()
            if isinstance(stack, Transformer | TransformerDecoder):
                shape = stack.head_shape
                values |= {"head_size": shape.head_size, "key_value_heads": shape.key_value_heads}
            if stack.norm == "layer":
                # UER-py's cannot be chosen; an export reports the difference.
                del values["norm_epsilon"]
            yield from _flat(name, values)
    yield from _embedding(model, "embedding")
    if model.decoder is not None:
        yield from _embedding(model, "target_embedding")
    head = getattr(objective, "head", None)
    if head is not None:
        values = head.model_dump()
        if isinstance(head, MlmHead):
            # An export writes zeros for a bias that the model lacks.
            del values["bias"]
        else:
            yield "objective.type", objective.type
        yield from _flat("objective.head", values)
    for key in ("pooling", "mlm", "target_bos"):
        yield f"objective.{key}", getattr(objective, key, None)
    start = getattr(objective, "decoder_start", None)
    yield "objective.decoder_start", None if start == "bos" else start


def _embedding(model: ModelBlock, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the options of the embedding of the encoder or of the decoder."""
    embedding = model.embedding if name == "embedding" else model.decoder_embedding
    values = embedding.model_dump()
    # An export moves position 0 to row 0. Without a decoder the table keeps its size.
    offset = values.pop("position_offset")
    values["positions"] -= offset if model.decoder is not None else 0
    values["size"] = embedding.size or model.encoder.hidden_size
    # A table for one segment is written with an unused row for the second.
    values["segments"] = max(2, embedding.segments) if "segment" in embedding.parts else 2
    del values["tasks"]
    if "sinusoidal" not in embedding.parts:
        del values["sinusoidal_order"]
    yield from _flat(f"model.{name}", values)


def _flat(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _flat(f"{path}.{key}", one)
    else:
        yield path, value
