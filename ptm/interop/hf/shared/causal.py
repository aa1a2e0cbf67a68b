"""What the families GPT, GPT-2 and LLaMA share: checks of the model, and config keys."""

from __future__ import annotations

from typing import Any

from ptm.components.encoders.transformer import Transformer
from ptm.components.objectives import Objective
from ptm.components.objectives.lm import Lm
from ptm.components.objectives.next_tokens import LmHead
from ptm.recipe.model_block import ModelBlock
from ptm.text.vocabulary import Vocabulary


def structure_reason(model: ModelBlock, objective: Objective) -> str | None:
    """Why a model is not a transformer that predicts the next token; None if it is."""
    if not isinstance(model.encoder, Transformer):
        return f"model.encoder.type = {model.encoder.type}"
    if not isinstance(objective, Lm):
        return f"objective.type = {objective.type}"
    return None


def token_head(objective: Objective) -> LmHead:
    """The head of an objective that `structure_reason` accepted."""
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
