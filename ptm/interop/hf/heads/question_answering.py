"""`AutoModelForQuestionAnswering`: the first and the last token of an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ptm.components.objectives import Objective
from ptm.components.objectives.extraction import Extraction
from ptm.errors import UserError
from ptm.interop.hf.heads.base import Head, HeadLayout
from ptm.interop.hf.heads.modernbert_layout import ModernBertTokenLayout
from ptm.interop.hf.model_config import ModelConfig

_PLAIN = HeadLayout({"qa_outputs": "qa_outputs"})


class _DistilBertLayout(HeadLayout):
    """The only head with a dropout, which ours has not."""

    def config_keys(self, objective: Objective) -> dict[str, Any]:
        return {"qa_dropout": 0.0}


class QuestionAnswering(Head):
    """The head of `extraction`."""

    suffix: ClassVar[str] = "ForQuestionAnswering"
    pipeline_tag: ClassVar[str] = "question-answering"
    note: ClassVar[str] = (
        "Answers are spans of the context: pass question and context to the tokenizer as a pair, "
        "with `stride` and `return_overflowing_tokens` for long contexts. The span with the "
        "largest sum of `start_logits` and `end_logits` is the answer."
    )
    layouts: ClassVar[Mapping[str, HeadLayout]] = {
        **dict.fromkeys(
            (
                *("bert", "ernie", "albert", "roberta", "xlm_roberta", "camembert"),
                "data2vec_text",
            ),
            _PLAIN,
        ),
        "distilbert": _DistilBertLayout(_PLAIN.modules),
        "modernbert": ModernBertTokenLayout(
            {
                "span_transform.dense": "head.dense",
                "span_transform.norm": "head.norm",
                "qa_outputs": "classifier",
            }
        ),
    }

    def holds(self, objective: Objective) -> bool:
        return isinstance(objective, Extraction)

    def config_keys(self, objective: Objective) -> dict[str, Any]:
        return {}

    def objective_block(self, config: ModelConfig, outputs: int | None) -> dict[str, Any]:
        if outputs not in (None, 2):
            raise UserError(
                f"the head of question answering has {outputs} outputs, not 2 (first and last "
                "token)"
            )
        return {"type": "extraction"}
