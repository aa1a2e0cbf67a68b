"""`AutoModelForMultipleChoice`: a score for each choice of a question."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ptm.components.objectives import Objective
from ptm.components.objectives.choice import Choice
from ptm.errors import UserError
from ptm.interop.hf.heads.base import Head, HeadLayout
from ptm.interop.hf.model_config import ModelConfig


def _pooled(pooler: str, **options: Any) -> HeadLayout:
    return HeadLayout({"pooler.dense": pooler, "classifier": "classifier"}, options)


_ROBERTA = _pooled("roberta.pooler.dense")


class MultipleChoice(Head):
    """The head of `choice`."""

    suffix: ClassVar[str] = "ForMultipleChoice"
    pipeline_tag: ClassVar[str] = "multiple-choice"
    note: ClassVar[str] = (
        "Give the tokenizer the pairs (question and choice, context) of a question and stack them: "
        "the inputs of the model have the shape (questions, choices, tokens)."
    )
    layouts: ClassVar[Mapping[str, HeadLayout]] = {
        "bert": _pooled("bert.pooler.dense"),
        "ernie": _pooled("ernie.pooler.dense"),
        "albert": _pooled("albert.pooler"),
        "roberta": _ROBERTA,
        "xlm_roberta": _ROBERTA,
        "camembert": _ROBERTA,
        "data2vec_text": _pooled("data2vec_text.pooler.dense"),
        "distilbert": _pooled("pre_classifier", head={"activation": "relu"}),
    }

    def holds(self, objective: Objective) -> bool:
        return isinstance(objective, Choice)

    def config_keys(self, objective: Objective) -> dict[str, Any]:
        return {}

    def objective_block(self, config: ModelConfig, outputs: int | None) -> dict[str, Any]:
        if outputs not in (None, 1):
            raise UserError(f"the head of multiple choice has {outputs} outputs, not 1")
        return {"type": "choice"}
