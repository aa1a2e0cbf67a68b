"""`AutoModelForSequenceClassification`: one label, several labels or a number for each text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ptm.components.objectives import Objective
from ptm.components.objectives.classification import Classification
from ptm.components.objectives.labelled_texts import LabelledObjective
from ptm.components.objectives.multi_label_classification import MultiLabelClassification
from ptm.components.objectives.regression import Regression
from ptm.errors import UserError
from ptm.interop.hf.heads.base import Head, HeadLayout, label_keys, read_label_names
from ptm.interop.hf.model_config import ModelConfig
from ptm.interop.hf.shared.post_norm import ACTIVATIONS, activation_from_config
from ptm.text.vocabulary import Vocabulary

_SINGLE, _REGRESSION = "single_label_classification", "regression"
_MULTI = "multi_label_classification"
_SEPARATORS = (",", ";", "|", " / ")
"""Separators of labels, of which an import takes the first that is in no name."""
_PLACEHOLDER = "LABEL_"
"""Beginning of the names that transformers gives to labels without one."""


class _ModernBertLayout(HeadLayout):
    """Pooling and activation are options of the config, and the biases are those of the body."""

    def read_options(self, config: ModelConfig) -> dict[str, Any]:
        pooling = config.get("classifier_pooling", "cls")
        return {
            "pooling": _POOLINGS.get(pooling, pooling),
            "head": {
                "activation": activation_from_config(config, "classifier_activation"),
                "norm": True,
                "dense_bias": bool(config.get("classifier_bias", False)),
            },
        }

    def config_keys(self, objective: Objective) -> dict[str, Any]:
        assert isinstance(objective, LabelledObjective), "`holds` was checked before"
        theirs = {ours: theirs for theirs, ours in _POOLINGS.items()}
        return {
            "classifier_pooling": theirs.get(objective.pooling, "cls"),
            "classifier_activation": ACTIVATIONS[objective.head.activation],
        }


class _DecoderLayout(HeadLayout):
    """The decoder reads the texts after its start token; its last vector is pooled."""

    def read_options(self, config: ModelConfig) -> dict[str, Any]:
        start = config.get("decoder_start_token_id", _DEFAULT_START[str(config.get("model_type"))])
        for role, usual in _DEFAULT_IDS[str(config.get("model_type"))].items():
            if config.get(f"{role}_token_id", usual) == start:
                return {"pooling": "last", "decoder_start": role}
        raise UserError(
            f"config.json: decoder_start_token_id = {start} is not the id of a special token"
        )


_DEFAULT_START = {"bart": 2, "t5": 0, "mt5": 0}
_DEFAULT_IDS: Mapping[str, Mapping[str, int | None]] = {
    "bart": {"eos": 2, "bos": 0, "pad": 1},
    "t5": {"pad": 0, "eos": 1, "bos": None},
    "mt5": {"pad": 0, "eos": 1, "bos": None},
}
"""Special tokens of configs that do not have the keys."""
_POOLINGS = {"cls": "first", "mean": "mean"}
"""ModernBERT's poolings to ptm's."""


def _pooled(pooler: str, classifier: str = "classifier", **options: Any) -> HeadLayout:
    return HeadLayout({"pooler.dense": pooler, "classifier": classifier}, options)


_ROBERTA = _pooled("classifier.dense", "classifier.out_proj")
_DECODER_MODULES = {
    "pooler.dense": "classification_head.dense",
    "classifier": "classification_head.out_proj",
}
_LAST_TOKEN = HeadLayout(
    {"classifier": "score"},
    {"pooling": "last", "head": {"dense": False, "bias": False}},
)


class SequenceClassification(Head):
    """The head of `classification`, `multi_label_classification` and `regression`."""

    suffix: ClassVar[str] = "ForSequenceClassification"
    pipeline_tag: ClassVar[str] = "text-classification"
    note: ClassVar[str] = (
        '`pipeline("text-classification")` gives the labels of `id2label`. Two texts are given as '
        "a pair."
    )
    layouts: ClassVar[Mapping[str, HeadLayout]] = {
        "bert": _pooled("bert.pooler.dense"),
        "ernie": _pooled("ernie.pooler.dense"),
        "albert": _pooled("albert.pooler"),
        "roberta": _ROBERTA,
        "xlm_roberta": _ROBERTA,
        "camembert": _ROBERTA,
        "data2vec_text": _ROBERTA,
        "distilbert": _pooled("pre_classifier", head={"activation": "relu"}),
        "modernbert": _ModernBertLayout(
            {"pooler.dense": "head.dense", "pooler.norm": "head.norm", "classifier": "classifier"}
        ),
        "openai_gpt": _LAST_TOKEN,
        "gpt2": _LAST_TOKEN,
        "llama": _LAST_TOKEN,
        "bart": _DecoderLayout(_DECODER_MODULES),
        "t5": _DecoderLayout(_DECODER_MODULES, body_prefix="transformer."),
        "mt5": _DecoderLayout(_DECODER_MODULES, body_prefix="transformer."),
    }

    def holds(self, objective: Objective) -> bool:
        return isinstance(objective, Classification | MultiLabelClassification | Regression)

    def obstacle(self, objective: Objective, vocabulary: Vocabulary) -> str | None:
        assert isinstance(objective, LabelledObjective), "`holds` was checked before"
        if objective.decoder_start is not None and not objective.template.end:
            return (
                "transformers reads the decoder at the last end token of each text, but "
                "objective.template.end is false; train with objective.template.end: true"
            )
        if objective.pooling != "last" or not objective.template.end:
            return None
        pad, sep = (vocabulary.special_id(role) for role in ("pad", "sep"))
        if pad != sep:
            return None
        return (
            f"transformers reads the last token that is not padding, but "
            f"{vocabulary.specials['sep']} at the end of each text is also the padding token; give "
            "the tokenizer a padding token of its own, or train with objective.template.end: false"
        )

    def exported(self, objective: Objective) -> tuple[Objective, tuple[str, ...]]:
        if getattr(objective, "mlm", None) is None:
            return objective, ()
        note = "the head of masked tokens is left out: transformers has no model with both heads"
        return objective.model_copy(update={"mlm": None}), (note,)

    def config_keys(self, objective: Objective) -> dict[str, Any]:
        if isinstance(objective, Regression):
            return {**label_keys((f"{_PLACEHOLDER}0",)), "problem_type": _REGRESSION}
        assert objective.label_set is not None, "`holds` was checked before"
        several = isinstance(objective, MultiLabelClassification)
        names = label_keys(objective.label_set.names)
        return {**names, "problem_type": _MULTI if several else _SINGLE}

    def objective_block(self, config: ModelConfig, outputs: int | None) -> dict[str, Any]:
        names, problem = read_label_names(config, outputs), config.get("problem_type")
        if problem == _REGRESSION or (problem is None and len(names) == 1):
            if len(names) != 1:
                raise UserError(
                    f"the head predicts {len(names)} numbers, but objective regression has one"
                )
            return {"type": "regression"}
        if problem == _MULTI:
            unused = [one for one in _SEPARATORS if not any(one in name for name in names)]
            labels = {"labels": numbered_or_names(names)}
            other = {"label_separator": unused[0]} if unused[:1] not in ([], [","]) else {}
            return {"type": _MULTI, **labels, **other}
        if problem not in (None, _SINGLE):
            raise UserError(f'config.json: problem_type "{problem}" is not supported')
        return {"type": "classification", "labels": numbered_or_names(names)}


def numbered_or_names(names: tuple[str, ...]) -> int | list[str]:
    """The key `labels` for these names: their number, if they are numbers or placeholders."""
    for prefix in ("", _PLACEHOLDER):
        if names == tuple(f"{prefix}{index}" for index in range(len(names))):
            return len(names)
    return list(names)
