"""How UER-py and TencentPretrain name the tensors of a transformer encoder and its targets.

Masked-token and next-token models differ only in their target (`Output`).

UER-py's state dicts store both copies of tied tensors, name the weight and bias of a norm gamma and
beta, store query, key and value separately, and, like `ptm`, have a segment row for padding. Before
2022 UER-py used other names for the embeddings and the targets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ptm.errors import UserError
from ptm.interop.weight_checks import concatenated

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
    "embedding.projection": "encoder.linear",
    "mlm_transform.dense": "target.mlm.linear_1",
    "pooler.dense": "target.sp.linear_1",
    "pair_classifier": "target.sp.linear_2",
}
_NORMS = {
    "embedding.norm": "embedding.layer_norm",
    "encoder_norm": "encoder.layer_norm",
    "mlm_transform.norm": "target.mlm.layer_norm",
}
_LAYER_LINEAR = {
    "attention.output": "self_attn.final_linear",
    "feed_forward.up": "feed_forward.linear_1",
    "feed_forward.down": "feed_forward.linear_2",
}
_LAYER_NORMS = {"attention_norm": "layer_norm_1", "feed_forward_norm": "layer_norm_2"}
_ATTENTION = "self_attn.linear_layers"


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
    def matrix(self) -> str:
        """UER-py's name of the output matrix."""
        return f"{self.theirs}.weight"

    @property
    def bias(self) -> str:
        """UER-py's name of the output bias."""
        return f"{self.theirs}.bias"


MASKED = Output("mlm", "target.mlm.linear_2", always_biased=True)
NEXT = Output("lm", "target.lm.output_layer", always_biased=False)


@dataclass(frozen=True)
class Layers:
    """The encoder's layers: `count` of them, or one that all share (`shared`, ALBERT)."""

    count: int
    shared: bool

    def prefixes(self) -> tuple[tuple[str, str], ...]:
        """Return the name prefix of each layer in `ptm` and in UER-py, with its trailing dot."""
        if self.shared:
            return (("encoder_group_00.", "encoder.transformer."),)
        return tuple((f"encoder_{i:02}.", f"encoder.transformer.{i}.") for i in range(self.count))

    def names(self) -> dict[str, str]:
        """Map `ptm` names to UER-py names for all tensors that both store in the same form.

        A model need not have all of them.
        """
        found = {f"{o}.weight": f"{t}.weight" for o, t in _TABLES.items()}
        found |= dict(_modules(_LINEAR, _NORMS))
        for ours, theirs in self.prefixes():
            inside = _modules(_LAYER_LINEAR, _LAYER_NORMS)
            found |= {f"{ours}{name}": f"{theirs}{other}" for name, other in inside}
        return found | {f"{output.ours}_bias.bias": output.bias for output in (MASKED, NEXT)}


def _modules(linear: Mapping[str, str], norms: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for ours, theirs in linear.items():
        for kind in ("weight", "bias"):
            yield f"{ours}.{kind}", f"{theirs}.{kind}"
    for ours, theirs in norms.items():
        yield f"{ours}.weight", f"{theirs}.gamma"
        yield f"{ours}.bias", f"{theirs}.beta"


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


def from_uer(theirs: Tensors, layers: Layers, *, width: int, tied: bool) -> dict[str, Tensor]:
    """Convert a state dict with current names to tensors by canonical name.

    `width` is the hidden size; `tied`: drop the copy of the word embedding that is the output
    matrix. Raises UserError for tensors that no encoder with these targets has and for queries,
    keys or values of another width, and KeyError if a tensor is missing that every encoder has.
    """
    rest = dict(theirs)
    found = {o: rest.pop(t) for o, t in layers.names().items() if t in rest}
    for ours, prefix in layers.prefixes():
        for kind in ("weight", "bias"):
            names = [f"{prefix}{_ATTENTION}.{part}.{kind}" for part in range(3)]
            found[f"{ours}attention.qkv.{kind}"] = concatenated(rest, names, width=width)
            rest = {name: tensor for name, tensor in rest.items() if name not in names}
    output = output_of(theirs)
    if output.matrix in rest:
        matrix = rest.pop(output.matrix)
        if not tied:
            found[f"{output.ours}_unembed.weight"] = matrix
    if rest:
        shown = ", ".join(sorted(rest)[:5]) + (" …" if len(rest) > 5 else "")
        raise UserError(
            "does not match its config, or has another target than bert, mlm, albert and lm. "
            f"Unexpected tensors: {shown}."
        )
    return found


def to_uer(tensors: Tensors, layers: Layers, output: Output) -> dict[str, Tensor]:
    """Convert canonical tensors to a UER-py state dict, with the copy of a tied output matrix.

    If UER-py's output layer always has a bias and the model has none, zeros are written.
    """
    rest = dict(tensors)
    found = {t: rest.pop(o) for o, t in layers.names().items() if o in rest}
    for ours, prefix in layers.prefixes():
        for kind in ("weight", "bias"):
            for part, tensor in enumerate(rest.pop(f"{ours}attention.qkv.{kind}").chunk(3)):
                found[f"{prefix}{_ATTENTION}.{part}.{kind}"] = tensor
    found[output.matrix] = rest.pop(f"{output.ours}_unembed.weight", found[WORDS])
    if output.always_biased:
        found.setdefault(output.bias, torch.zeros(len(found[WORDS])))
    assert not rest, f"tensors without a UER-py name: {sorted(rest)}"
    return found
