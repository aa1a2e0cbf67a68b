"""The `objective` block of a UER-py training."""

from __future__ import annotations

from collections.abc import Callable

from ptm.errors import UserError
from ptm.translate.draft import Draft
from ptm.translate.uer_settings import UerSettings

_MASKED = ("mlm", "bert", "albert")
_REDRAWN = ("bert", "albert", "gsg", "bart", "t5")
"""Objectives with random choices other than the masking: pairs, gaps, noise."""
_MASK_OPTIONS = ("whole_word_masking", "span_masking", "span_geo_prob", "span_max_length")
_NOISE_RATE = 0.15
"""UER-py's share of noise tokens in T5 and BART."""


def set_objective(draft: Draft, settings: UerSettings) -> None:
    """Set `objective`. Raises UserError for a value that is missing."""
    kind = settings.objective
    draft.set("objective.type", kind, _origin(settings))
    setters: dict[str, Callable[[Draft, UerSettings], None]] = {
        **dict.fromkeys(_MASKED, _set_masking),
        "t5": _set_t5_noise,
        "bart": _set_bart_noise,
        "gsg": _set_gaps,
        "classification": _set_classification,
    }
    if kind in _REDRAWN:
        _set_redraw(draft, settings, "objective")
    if kind in setters:
        setters[kind](draft, settings)
    if kind in ("mlm", "t5") and settings.get("full_sentences"):
        draft.set("objective.concatenate", True, settings.origin("full_sentences"))
    if kind in ("bert", "albert"):
        origin = settings.origin("short_seq_prob")
        draft.set("objective.short_probability", settings.get("short_seq_prob"), origin)
    _set_head(draft, settings)
    _note_unused(draft, settings)


def _origin(settings: UerSettings) -> str:
    if settings.given("data_processor"):
        return "--data_processor"
    return "--target" if settings.given("target") else settings.config_path


def _set_redraw(draft: Draft, settings: UerSettings, block: str) -> None:
    """Set `dynamic` and `duplicates`."""
    dynamic = bool(settings.get("dynamic_masking"))
    draft.set(f"{block}.dynamic", dynamic, settings.origin("dynamic_masking"))
    if dynamic:
        return
    copies, origin = settings.get("dup_factor"), settings.origin("dup_factor")
    leads = settings.objective == "gsg" and settings.get("sentence_selection_strategy") == "lead"
    if leads:
        copies, origin = 1, "the leading sentences are the same in every duplicate"
    draft.set(f"{block}.duplicates", copies, origin)


def _set_masking(draft: Draft, settings: UerSettings, *, block: str = "objective.masking") -> None:
    unit = "token"
    for name, one in (("whole_word_masking", "whole_word"), ("span_masking", "span")):
        if settings.get(name):
            unit = one
    words = bool(settings.get("whole_word_masking"))
    spans = unit == "span"
    origin = settings.origin("span_masking" if spans else "whole_word_masking")
    draft.set(f"{block}.unit", unit, origin if unit != "token" else "")
    if spans:
        _set_spans(draft, settings, block)
        if words:
            draft.set(f"{block}.whole_words", True, settings.origin("whole_word_masking"))
    _set_redraw(draft, settings, block)


def _set_spans(draft: Draft, settings: UerSettings, block: str) -> None:
    draft.set(
        f"{block}.geometric_p", settings.get("span_geo_prob"), settings.origin("span_geo_prob")
    )
    longest = settings.get("span_max_length")
    draft.set(f"{block}.max_length", longest, settings.origin("span_max_length"))


def _set_t5_noise(draft: Draft, settings: UerSettings) -> None:
    spans = "geometric" if settings.get("span_masking") else "token"
    draft.set("objective.noise.spans", spans, settings.origin("span_masking"))
    draft.set("objective.noise.rate", _NOISE_RATE, "UER-py's")
    if spans == "geometric":
        _set_spans(draft, settings, "objective.noise")


def _set_bart_noise(draft: Draft, settings: UerSettings) -> None:
    draft.set("objective.noise.lengths", "geometric", settings.origin("span_masking"))
    draft.set("objective.noise.rate", _NOISE_RATE, "UER-py's")
    if settings.get("span_masking"):
        _set_spans(draft, settings, "objective.noise")
    else:
        draft.set(
            "objective.noise.max_length", 1, "without --span_masking single tokens are masked"
        )


def _set_gaps(draft: Draft, settings: UerSettings) -> None:
    origin = settings.origin("sentence_selection_strategy")
    draft.set("objective.selection", settings.get("sentence_selection_strategy"), origin)
    draft.set("objective.rate", 0.3, "UER-py's")


def _set_classification(draft: Draft, settings: UerSettings) -> None:
    labels = settings.get("labels_num")
    if labels is None:
        raise UserError(
            f"{settings.pretrain.command.place}: --labels_num is missing, which classification "
            "needs. Add the number of labels."
        )
    draft.set("objective.labels", labels, settings.origin("labels_num"))
    draft.set("objective.pooling", settings.get("pooling"), settings.origin("pooling"))
    if settings.processor == "cls_mlm":
        _set_masking(draft, settings, block="objective.mlm.masking")
        tied = bool(settings.get("tie_weights"))
        draft.set("objective.mlm.head.tied", tied, settings.origin("tie_weights"))


def _set_head(draft: Draft, settings: UerSettings) -> None:
    """Set the output layer. Only next-token heads have an option of the bias."""
    kind = settings.objective
    if kind == "classification":
        return
    if kind == "bilm":
        draft.set("objective.head.shared", True, "UER-py has one output matrix for both directions")
    else:
        tied, origin = bool(settings.get("tie_weights")), settings.origin("tie_weights")
        if not tied and "init_from" in draft.data:
            # An untied output layer would start fresh from a model whose output is its embedding.
            origin += "; true if `ptm import` finds the output equal to the embedding"
        draft.set("objective.head.tied", tied, origin)
    if kind not in _MASKED:
        bias = bool(settings.get("has_lmtarget_bias"))
        draft.set("objective.head.bias", bias, settings.origin("has_lmtarget_bias"))
    elif settings.given("has_lmtarget_bias"):
        draft.note(settings.written("has_lmtarget_bias"), f"the output of {kind} always has a bias")


def _note_unused(draft: Draft, settings: UerSettings) -> None:
    """Note options of the lines that have no effect on this objective, as in UER-py."""
    kind = settings.objective
    masks = kind in (*_MASKED, "t5", "bart") or settings.processor == "cls_mlm"
    unused: dict[str, bool] = {
        **dict.fromkeys(_MASK_OPTIONS, not masks),
        **dict.fromkeys(("dynamic_masking", "dup_factor"), not masks and kind not in _REDRAWN),
        "whole_word_masking": not masks or kind in ("t5", "bart"),
        "short_seq_prob": kind not in ("bert", "albert"),
        "full_sentences": kind not in ("mlm", "t5"),
        "sentence_selection_strategy": kind != "gsg",
        "labels_num": kind != "classification",
        "pooling": kind != "classification",
        "tie_weights": kind == "bilm" or settings.processor == "cls",
        "has_lmtarget_bias": kind == "classification",
    }
    for name, is_unused in unused.items():
        if is_unused and settings.given(name):
            draft.note(settings.written(name), f"it has no effect on {kind}")
    if settings.given("dup_factor") and settings.get("dynamic_masking"):
        draft.note(settings.written("dup_factor"), "--dynamic_masking draws anew every epoch")
