"""Convert the targets of UER-py configs to `objective` blocks of recipes, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ptm.components.objectives import Objective
from ptm.components.objectives.bilm import Bilm
from ptm.components.objectives.classification import Classification
from ptm.components.objectives.lm import Lm
from ptm.components.objectives.masked_tokens import MlmHead
from ptm.components.objectives.next_tokens import LmHead, NextTokenObjective
from ptm.components.objectives.prefixlm import PrefixLm
from ptm.errors import UserError
from ptm.interop.uer.encoders.base import check_supported
from ptm.interop.uer.targets import BILM, CLASSES, MASKED, NEXT, Target
from ptm.recipe.model_block import ModelBlock

_KINDS: tuple[tuple[type[Objective], Target], ...] = (
    (NextTokenObjective, NEXT),
    (Bilm, BILM),
    (Classification, CLASSES),
)
_WITH_DECODER = {"t5": "t5", "bart": "bart", "gsg": "gsg", "mt": "seq2seq"}
"""`data_processor` to `objective.type`."""
_MASKS = {
    NEXT: ("causal", "causal_with_prefix", "prefix"),
    MASKED: ("fully_visible",),
    BILM: ("fully_visible",),
}


def target_of(objective: Objective) -> Target | None:
    """Return the target of an objective; None if UER-py lacks the objective."""
    if isinstance(getattr(objective, "head", None), MlmHead):
        return MASKED
    return next((target for kind, target in _KINDS if isinstance(objective, kind)), None)


def objective_block(
    config: Mapping[str, Any], target: Target, *, pairs: bool, tied: bool
) -> dict[str, Any]:
    """Return the `objective` block of a recipe.

    `pairs`: whether the model has a sentence-pair head; `tied`: whether the output matrix is the
    word embedding. Raises KeyError if the number of labels of a classifier is missing, UserError if
    the target needs another mask.
    """
    _check_mask(config, target)
    bias = bool(config.get("has_lmtarget_bias", False))
    if target is CLASSES:
        labels, pooling = config["labels_num"], config.get("pooling", "first")
        return {"type": "classification", "labels": labels, "pooling": pooling}
    if target is BILM:
        return {"type": "bilm", "head": {"tied": False, "bias": bias}}
    if target is NEXT:
        return {"type": _next_objective(config), "head": {"tied": tied, "bias": bias}}
    kind = _masked_objective(config) if pairs else "mlm"
    return {"type": kind, "masking": {"unit": "token"}, "head": {"tied": tied}}


def _check_mask(config: Mapping[str, Any], target: Target) -> None:
    """Raise UserError if the target needs another mask; a classifier may have any."""
    mask = config.get("mask", "fully_visible")
    is_transformer = config.get("encoder", "transformer") in ("transformer", "bert")
    if config.get("decoder") or not is_transformer or mask in _MASKS.get(target, (mask,)):
        return
    raise UserError(
        f'mask = "{mask}" with target = {json.dumps(config.get("target"))} is not supported. '
        'Target "lm" needs mask "causal" or "causal_with_prefix"; targets "mlm", "sp" and "bilm" '
        'need "fully_visible".'
    )


def _next_objective(config: Mapping[str, Any]) -> str:
    """Return the objective of a model that predicts the next token."""
    if config.get("decoder"):
        check_supported(config, {"data_processor": tuple(_WITH_DECODER)})
        return _WITH_DECODER[config.get("data_processor", "bart")]
    return "lm" if config.get("mask", "causal") == "causal" else "prefixlm"


def _masked_objective(config: Mapping[str, Any]) -> str:
    """Return the objective of a masked-token model with a sentence-pair head."""
    albert = config.get("data_processor") == "albert" or config.get("target") == "albert"
    shared = config.get("factorized_embedding_parameterization") and config.get("parameter_sharing")
    return "albert" if albert or shared else "bert"


def target_keys(model: ModelBlock, objective: Objective, *, pairs: bool) -> dict[str, Any]:
    """Return the config keys of an objective that has a target.

    Raises UserError if UER-py's head cannot represent the model's.
    """
    if isinstance(objective, NextTokenObjective):
        _check_lm(model, objective.head)
        bias = {"has_lmtarget_bias": True} if objective.head.bias else {}
        return {
            **_keys(_data_processor(objective), NEXT),
            "tie_weights": objective.head.tied,
            **bias,
        }
    if isinstance(objective, Bilm):
        _check_bilm(objective)
        bias = {"has_lmtarget_bias": True} if objective.head.bias else {}
        return {**_keys("bilm", BILM), **bias}
    if isinstance(objective, Classification):
        _check_classes(objective)
        return {
            **_keys("cls", CLASSES),
            "labels_num": len(objective.label_set.names),
            "pooling": objective.pooling,
        }
    head = getattr(objective, "head", None)
    assert isinstance(head, MlmHead), "the target of all other objectives is mlm"
    return {
        "data_processor": objective.type if pairs else "mlm",
        "target": ["mlm", "sp"] if pairs else ["mlm"],
        "tie_weights": head.tied,
    }


def _data_processor(objective: NextTokenObjective) -> str:
    """Return UER-py's name of the data. Raises UserError if it has no such data."""
    if isinstance(objective, Lm | PrefixLm):
        return objective.type
    for theirs, ours in _WITH_DECODER.items():
        if ours == objective.type:
            return theirs
    raise UserError(f"UER-py configs cannot express objective.type = {objective.type}.")


def _keys(data_processor: str, target: Target) -> dict[str, Any]:
    return {"data_processor": data_processor, "target": [target.name]}


def _check_lm(model: ModelBlock, head: LmHead) -> None:
    """Raise UserError if UER-py's output layer cannot represent the model's."""
    if head.tied and model.embedding.size not in (None, model.encoder.hidden_size):
        raise UserError(
            f"UER-py configs with target lm cannot express model.embedding.size = "
            f"{model.embedding.size} with objective.head.tied = true: their output layer has the "
            f"width hidden_size = {model.encoder.hidden_size}."
        )


def _check_bilm(objective: Bilm) -> None:
    """Raise UserError unless both directions have one matrix that is not the word embedding."""
    if not objective.head.shared:
        raise UserError(
            "UER-py configs cannot express objective.head.shared = false: target bilm has one "
            "output matrix for both directions."
        )
    if objective.head.tied:
        raise UserError(
            "UER-py configs cannot express objective.head.tied = true with objective bilm: target "
            "bilm has an output matrix of its own."
        )


def _check_classes(objective: Classification) -> None:
    """Raise UserError if the classifier also predicts masked tokens."""
    if objective.mlm is not None:
        raise UserError(
            "UER-py configs cannot express objective.mlm: the data of target cls have no masked "
            "tokens."
        )
