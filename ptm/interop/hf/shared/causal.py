"""What the families GPT, GPT-2 and LLaMA share: checks of the model, and config keys."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ptm.components.encoders.transformer import Transformer
from ptm.components.objectives import Objective
from ptm.components.objectives.lm import Lm
from ptm.components.objectives.next_tokens import LmHead
from ptm.interop.hf.shared.naming import unsupported_option
from ptm.recipe.model_block import ModelBlock
from ptm.text.vocabulary import Vocabulary

_EXPRESSIBLE_HEADS = ("head_size", "key_value_heads")
_EXPRESSIBLE_EMBEDDING = ("parts", "size", "rows", "positions", "layer_norm")
_SHOWN = {True: "true", False: "false"}


def unsupported_reason(
    model: ModelBlock,
    objective: Objective,
    *,
    parts: Collection[str],
    fixed: Mapping[str, Any],
    expressible: Collection[str],
) -> str | None:
    """Why a model is not a causal transformer of the family; None if it is.

    `parts`: parts of the embedding. `fixed`: options of `model.encoder` that every model of the
    family has. `expressible`: options of `model.encoder` that the family's config can express.
    """
    encoder, embedding = model.encoder, model.embedding
    if not isinstance(encoder, Transformer):
        return f"model.encoder.type = {encoder.type}"
    if not isinstance(objective, Lm):
        return f"objective.type = {objective.type}"
    for key, value in {"visibility": "causal", **fixed}.items():
        if getattr(encoder, key) != value:
            return f"model.encoder.{key} = {_shown(getattr(encoder, key))}"
    if embedding.layer_norm:
        return "the embedding has a norm (model.embedding.layer_norm = true)"
    if set(embedding.parts) != set(parts):
        return f"model.embedding.parts = [{', '.join(embedding.parts)}], not [{', '.join(parts)}]"
    if embedding.size not in (None, encoder.hidden_size):
        return "model.embedding.size is not model.encoder.hidden_size"
    known = ("visibility", *fixed, *expressible, *_EXPRESSIBLE_HEADS)
    return (
        unsupported_option(embedding, "model.embedding", expressible=_EXPRESSIBLE_EMBEDDING)
        or unsupported_option(encoder, "model.encoder", expressible=known)
        or unsupported_option(objective.head, "objective.head", expressible=("tied",))
    )


def nonstandard_heads_reason(model: ModelBlock) -> str | None:
    """Why the attention is not plain multi-head attention of the hidden size; None if it is."""
    encoder = plain_encoder(model)
    shape = encoder.head_shape
    if shape.key_value_heads != encoder.heads:
        return f"model.encoder.key_value_heads = {shape.key_value_heads}"
    if shape.query_width != encoder.hidden_size:
        return f"model.encoder.head_size = {shape.head_size}"
    return None


def _shown(value: object) -> object:
    return _SHOWN[value] if isinstance(value, bool) else value


def plain_encoder(model: ModelBlock) -> Transformer:
    """The encoder of a model that `unsupported_reason` accepted."""
    assert isinstance(model.encoder, Transformer), "the encoder was checked before"
    return model.encoder


def token_head(objective: Objective) -> LmHead:
    """The head of an objective that `unsupported_reason` accepted."""
    assert isinstance(objective, Lm), "the objective was checked before"
    return objective.head


def shared_config(
    model: ModelBlock, objective: Objective, vocabulary: Vocabulary
) -> dict[str, Any]:
    """The config keys of GPT, GPT-2 and LLaMA; the id of an absent special token is None."""
    roles = ("bos", "eos", "pad")
    ids = {role: vocabulary.ids.get(vocabulary.special_token(role)) for role in roles}
    return {
        "vocab_size": model.shape(vocabulary.size).vocabulary_size,
        "initializer_range": model.init.std,
        "bos_token_id": ids["bos"],
        "eos_token_id": ids["eos"],
        "pad_token_id": ids["pad"],
        "tie_word_embeddings": token_head(objective).tied,
        "torch_dtype": "float32",
    }


def objective_block(*, tied: bool) -> dict[str, Any]:
    """The recipe's `objective` block."""
    return {"type": "lm", "head": {"tied": tied}}
