"""How UER-py and TencentPretrain name the tensors of embeddings and targets.

Masked-token and next-token models differ only in their target (`Output`). The names of encoders are
in `ptm.interop.uer.encoders`.

UER-py's state dicts store both copies of tied tensors, name the weight and bias of a norm gamma and
beta, and, like `ptm`, have a segment row for padding. Before 2022 UER-py used other names for the
embeddings and the targets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ptm.errors import UserError

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
)
_TABLES = {
    "word_embedding": "embedding.word.embedding",
    "embedding.position": "embedding.pos.embedding",
    "embedding.segment": "embedding.seg.embedding",
}
_LINEAR = {
    "mlm_transform.dense": "target.mlm.linear_1",
    "pooler.dense": "target.sp.linear_1",
    "pair_classifier": "target.sp.linear_2",
}
_NORMS = {
    "embedding.norm": "embedding.layer_norm",
    "mlm_transform.norm": "target.mlm.layer_norm",
}


@dataclass(frozen=True)
class Output:
    """An output layer over the vocabulary: its name in `ptm` and in UER-py.

    `ours` is the prefix of the operations `*_unembed` and `*_bias`, `theirs` the name of UER-py's
    module. `always_biased`: whether UER-py's module always has a bias.
    """

    ours: str
    theirs: str
    always_biased: bool

    @property
    def our_matrix(self) -> str:
        """The canonical name of an output matrix that is not tied."""
        return f"{self.ours}_unembed.weight"

    @property
    def matrix(self) -> str:
        """UER-py's name of the output matrix."""
        return f"{self.theirs}.weight"

    @property
    def bias(self) -> str:
        """UER-py's name of the output bias."""
        return f"{self.theirs}.bias"


MASKED = Output("mlm", "target.mlm.linear_2", always_biased=True)
NEXT = Output("lm", "target.lm.output_layer", always_biased=False)


def parameter_names(
    linear: Mapping[str, str], norms: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Yield the canonical and the UER-py name of every parameter of linear layers and norms."""
    for ours, theirs in linear.items():
        for kind in ("weight", "bias"):
            yield f"{ours}.{kind}", f"{theirs}.{kind}"
    for ours, theirs in norms.items():
        yield f"{ours}.weight", f"{theirs}.gamma"
        yield f"{ours}.bias", f"{theirs}.beta"


def _outer_names() -> dict[str, str]:
    """Map canonical to UER-py names for embeddings and targets; a model need not have all."""
    return {
        **{f"{ours}.weight": f"{theirs}.weight" for ours, theirs in _TABLES.items()},
        **dict(parameter_names(_LINEAR, _NORMS)),
        **{f"{output.ours}_bias.bias": output.bias for output in (MASKED, NEXT)},
    }


def with_current_names(tensors: Tensors) -> dict[str, Tensor]:
    """Rename the tensors to the names that UER-py uses since 2022."""
    found = {}
    for name, tensor in tensors.items():
        for old, new in _OLD:
            name = re.sub(f"^{old}", new, name)
        found[name] = tensor
    return found


def output_of(theirs: Tensors) -> Output:
    """Return the output layer of a state dict with current names."""
    return NEXT if NEXT.matrix in theirs else MASKED


def from_uer(
    theirs: Tensors, encoder: EncoderFormat, config: Mapping[str, Any], *, tied: bool
) -> dict[str, Tensor]:
    """Convert a state dict with current names to tensors by canonical name.

    `tied`: drop the copy of the word embedding that is the output matrix. Raises UserError for
    tensors that no such encoder with these targets has or whose shape is wrong, and KeyError if a
    tensor is missing that every such encoder has.
    """
    rest = dict(theirs)
    found = {o: rest.pop(t) for o, t in _outer_names().items() if t in rest}
    found |= encoder.from_uer(rest, config)
    output = output_of(theirs)
    if output.matrix in rest:
        matrix = rest.pop(output.matrix)
        if not tied:
            found[output.our_matrix] = matrix
    if rest:
        shown = ", ".join(sorted(rest)[:5]) + (" …" if len(rest) > 5 else "")
        raise UserError(
            "does not match its config, or has another target than bert, mlm, albert and lm. "
            f"Unexpected tensors: {shown}."
        )
    return found


def to_uer(
    tensors: Tensors, encoder: EncoderFormat, config: Mapping[str, Any], output: Output
) -> dict[str, Tensor]:
    """Convert canonical tensors to a UER-py state dict, with the copy of a tied output matrix.

    If UER-py's output layer always has a bias and the model has none, zeros are written.
    """
    rest = dict(tensors)
    found = {t: rest.pop(o) for o, t in _outer_names().items() if o in rest}
    found |= encoder.to_uer(rest, config)
    found[output.matrix] = rest.pop(output.our_matrix, found[WORDS])
    if output.always_biased:
        found.setdefault(output.bias, torch.zeros(len(found[WORDS])))
    assert not rest, f"tensors without a UER-py name: {sorted(rest)}"
    return found
