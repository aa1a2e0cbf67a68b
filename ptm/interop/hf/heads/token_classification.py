"""`AutoModelForTokenClassification`: one tag for each word, at its first token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ptm.components.objectives import Objective
from ptm.components.objectives.tagging import Tagging
from ptm.interop.hf.heads.base import Head, HeadLayout, label_keys, read_label_names
from ptm.interop.hf.model_config import ModelConfig
from ptm.interop.hf.shared.post_norm import ACTIVATIONS, activation_from_config
from ptm.text.tags import Scheme, TagSet
from ptm.text.vocabulary import Vocabulary

_PLAIN = HeadLayout({"tag_classifier": "classifier"})


class _ModernBertLayout(HeadLayout):
    """The activation is an option of the config, and the biases are those of the body."""

    def read_options(self, config: ModelConfig) -> dict[str, Any]:
        return {
            "head": {
                "dense": True,
                "activation": activation_from_config(config, "classifier_activation"),
                "norm": True,
                "dense_bias": bool(config.get("classifier_bias", False)),
            }
        }

    def config_keys(self, objective: Objective) -> dict[str, Any]:
        assert isinstance(objective, Tagging), "`holds` was checked before"
        return {"classifier_activation": ACTIVATIONS[objective.head.activation]}


class TokenClassification(Head):
    """The head of `tagging`, without a conditional random field."""

    suffix: ClassVar[str] = "ForTokenClassification"
    pipeline_tag: ClassVar[str] = "token-classification"
    note: ClassVar[str] = (
        'The first token of a word has its tag: use `pipeline("token-classification", '
        'aggregation_strategy="first")`.'
    )
    layouts: ClassVar[Mapping[str, HeadLayout]] = {
        **dict.fromkeys(
            (
                *("bert", "ernie", "albert", "roberta", "xlm_roberta", "camembert"),
                *("data2vec_text", "distilbert", "gpt2"),
            ),
            _PLAIN,
        ),
        "llama": HeadLayout({"tag_classifier": "score"}),
        "modernbert": _ModernBertLayout(
            {
                "tag_transform.dense": "head.dense",
                "tag_transform.norm": "head.norm",
                "tag_classifier": "classifier",
            }
        ),
    }

    def holds(self, objective: Objective) -> bool:
        return isinstance(objective, Tagging)

    def obstacle(self, objective: Objective, vocabulary: Vocabulary) -> str | None:
        if getattr(objective, "crf", False):
            return (
                "objective.crf = true scores whole sequences of tags, which no model of "
                "transformers does; export it with --without-crf, which leaves out the transitions "
                "between tags and so changes the predictions"
            )
        return None

    def config_keys(self, objective: Objective) -> dict[str, Any]:
        assert isinstance(objective, Tagging), "`holds` was checked before"
        return label_keys(objective.label_set.names)

    def objective_block(self, config: ModelConfig, outputs: int | None) -> dict[str, Any]:
        names = read_label_names(config, outputs)
        return {"type": "tagging", "labels": list(names), "scheme": _scheme_of(names)}


def _scheme_of(names: tuple[str, ...]) -> Scheme:
    """The scheme that all tags belong to; `plain` without entities."""
    schemes: tuple[Scheme, ...] = ("bio", "bioes")
    for scheme in schemes:
        tags = TagSet(names, scheme=scheme)
        try:
            tags.check()
        except ValueError:
            continue
        if any("-" in name for name in names):
            return scheme
    return "plain"
