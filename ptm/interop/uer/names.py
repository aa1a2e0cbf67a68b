"""How UER-py and TencentPretrain name the tensors of embeddings and targets.

The names of heads are in `ptm.interop.uer.targets`, those of encoders in
`ptm.interop.uer.encoders`.

UER-py's state dicts store both copies of tied tensors, name the weight and bias of a norm gamma and
beta, and, like `ptm`, have a segment row for padding. Before 2022 UER-py used other names for the
embeddings and the targets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ptm.errors import UserError
from ptm.interop.uer.targets import CLASSES, Target, parameter_names, target_in_config

if TYPE_CHECKING:
    from ptm.interop.uer.encoders.base import EncoderFormat

Tensors = Mapping[str, Tensor]
WORDS = "embedding.word.embedding.weight"
POSITIONS, SEGMENTS = "embedding.position.weight", "embedding.segment.weight"

_OLD = (
    (r"(tgt_)?embedding\.word_embedding\.", r"\1embedding.word.embedding."),
    (r"(tgt_)?embedding\.position_embedding\.", r"\1embedding.pos.embedding."),
    (r"(tgt_)?embedding\.segment_embedding\.", r"\1embedding.seg.embedding."),
    (r"target\.mlm_linear_(\d)\.", r"target.mlm.linear_\1."),
    (r"target\.(?:sp|nsp|sop)_linear_(\d)\.", r"target.sp.linear_\1."),
    (r"target\.layer_norm\.", "target.mlm.layer_norm."),
    (r"target\.output_layer\.", "target.lm.output_layer."),
    (r"target\.linear_(\d)\.", r"target.cls.linear_\1."),
    # Of UER-py's finetune/run_classifier.py.
    (r"output_layer_(\d)\.", r"target.cls.linear_\1."),
)
_STREAM = "encoder.rnn_forward."
"""Prefix of one of the two streams of birnn, bilstm and bigru."""
_FINE_TUNED = {"target.cls.linear_1": "output_layer_1", "target.cls.linear_2": "output_layer_2"}
_TABLES = {
    "word_embedding": "embedding.word.embedding",
    "embedding.position": "embedding.pos.embedding",
    "embedding.segment": "embedding.seg.embedding",
}


def _outer_names(target: Target) -> dict[str, str]:
    """Map canonical to UER-py names for embeddings and head; a model need not have all."""
    norms = {"embedding.norm": "embedding.layer_norm", **target.norms}
    found = {f"{ours}.weight": f"{theirs}.weight" for ours, theirs in _TABLES.items()}
    found |= dict(parameter_names(target.linear, norms))
    if target.output is not None:
        found[target.output.our_bias] = target.output.bias
    return found


def with_current_names(tensors: Tensors) -> dict[str, Tensor]:
    """Rename the tensors to those that UER-py's pretraining uses since 2022.

    Raises UserError if the head of a classifier is present under two names and differs.
    """
    two_streams = any(name.startswith(_STREAM) for name in tensors)
    found: dict[str, Tensor] = {}
    for given, tensor in tensors.items():
        name = given
        for old, new in _OLD:
            name = re.sub(f"^{old}", new, name)
        if two_streams and given.startswith("target.output_layer."):
            name = name.replace("target.lm.", "target.bilm.")
        if name in found and not torch.equal(found[name], tensor):
            raise UserError(
                f"{name} is stored under two names, with different values. Remove the copy that is "
                "out of date."
            )
        found[name] = tensor
    return found


def from_uer(
    theirs: Tensors, encoder: EncoderFormat, config: Mapping[str, Any], *, tied: bool
) -> dict[str, Tensor]:
    """Convert a state dict with current names to tensors by canonical name.

    `tied`: drop the copy of the word embedding that is the output matrix. Raises UserError for
    tensors that no such encoder with these targets has or whose shape is wrong, and KeyError if a
    tensor is missing that every such encoder has.
    """
    rest = dict(theirs)
    target = target_in_config(config)
    found = {o: rest.pop(t) for o, t in _outer_names(target).items() if t in rest}
    found |= encoder.from_uer(rest, config)
    output = target.output
    if output is not None and output.matrix in rest:
        matrix = rest.pop(output.matrix)
        if not tied:
            found[output.our_matrix] = matrix
    if rest:
        shown = ", ".join(sorted(rest)[:5]) + (" …" if len(rest) > 5 else "")
        raise UserError(
            "does not match its config, or has another target than mlm, sp, lm, bilm and cls. "
            f"Unexpected tensors: {shown}."
        )
    return found


def to_uer(
    tensors: Tensors, encoder: EncoderFormat, config: Mapping[str, Any]
) -> dict[str, Tensor]:
    """Convert canonical tensors to a UER-py state dict, with the copy of a tied output matrix.

    If UER-py's output layer always has a bias and the model lacks it, zeros are written. The head
    of a classifier is written under the names of pretraining and under those of fine-tuning.
    """
    rest, target = dict(tensors), target_in_config(config)
    found = {t: rest.pop(o) for o, t in _outer_names(target).items() if o in rest}
    found |= encoder.to_uer(rest, config)
    output = target.output
    if output is not None:
        found[output.matrix] = rest.pop(output.our_matrix, found[WORDS])
        if output.always_biased:
            found.setdefault(output.bias, torch.zeros(len(found[WORDS])))
    if target is CLASSES:
        for name, tuned in parameter_names(_FINE_TUNED, {}):
            found[tuned] = found[name]
    assert not rest, f"tensors without a UER-py name: {sorted(rest)}"
    return found
