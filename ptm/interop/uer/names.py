"""How UER-py and TencentPretrain name the tensors of embeddings and targets.

The names of heads are in `ptm.interop.uer.targets`, those of layers in `ptm.interop.uer.encoders`
and `ptm.interop.uer.decoder`.

UER-py's state dicts store both copies of tied tensors, name the weight and bias of a norm gamma and
beta, and, like `ptm`, have a segment row for padding. Before 2022 UER-py used other names for the
embeddings and the targets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ptm.errors import UserError
from ptm.interop.uer.config import encoder_format, part_names
from ptm.interop.uer.contradictions import check_complete
from ptm.interop.uer.decoder import decoder_entries, decodes, shares_words
from ptm.interop.uer.entries import Entry, StateDict, give, layer_norm, linear, table, take
from ptm.interop.uer.targets import CLASSES, MASKED, other_heads, target_in_config

Tensors = Mapping[str, Tensor]
WORDS = "embedding.word.embedding.weight"
TARGET_WORDS = "tgt_embedding.word.embedding.weight"
OUR_WORDS, OUR_TARGET_WORDS = "word_embedding.weight", "target_word_embedding"

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
_TABLES = {"position": "pos", "segment": "seg"}


def _embedding_entries(config: Mapping[str, Any]) -> Iterator[Entry]:
    yield table("word_embedding", "embedding.word.embedding")
    sides = {"embedding": "embedding"}
    if decodes(config):
        sides["target_embedding"] = "tgt_embedding"
        yield table(OUR_TARGET_WORDS, TARGET_WORDS.removesuffix(".weight"))
    for ours, theirs in sides.items():
        for mine, name in _TABLES.items():
            if name in part_names(config, theirs):
                yield table(f"{ours}.{mine}", f"{theirs}.{name}.embedding")
        if not config.get("remove_embedding_layernorm"):
            yield from layer_norm(f"{ours}.norm", f"{theirs}.layer_norm")


def _head_entries(config: Mapping[str, Any]) -> Iterator[Entry]:
    target = target_in_config(config)
    for ours, theirs in target.linear.items():
        yield from linear(ours, theirs)
    for ours, theirs in target.norms.items():
        yield from layer_norm(ours, theirs)
    output = target.output
    if output is not None:
        yield Entry(output.our_matrix, (output.matrix,))
        if output.always_biased or config.get("has_lmtarget_bias"):
            yield Entry(output.our_bias, (output.bias,))


def _heads_in(theirs: Tensors, config: Mapping[str, Any]) -> Iterator[Entry]:
    """Yield the entries of the heads that a state dict has.

    A masked-token model may lack its head, and the classification of pairs, but no part of them.
    """
    present = {".".join(name.split(".")[:2]) for name in theirs}
    for entry in _head_entries(config):
        if target_in_config(config) is not MASKED or entry.head in present:
            yield entry


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


def from_uer(theirs: Tensors, config: Mapping[str, Any], *, tied: bool) -> dict[str, Tensor]:
    """Convert a state dict with current names to tensors by canonical name.

    `tied`: drop the copy of the word embedding that is the output matrix. UER-py's word embedding
    of a decoder that shares it with the encoder is loaded last, so it is the one in use. Raises
    UserError for tensors that no model of the config has or whose shape is wrong, and KeyError if
    one is missing.
    """
    state = StateDict(theirs)
    found = take(state, (*_embedding_entries(config), *_heads_in(theirs, config)))
    found |= encoder_format(config).from_uer(state, config)
    if decodes(config):
        found |= take(state, decoder_entries(config))
    for name in other_heads(state, target_in_config(config)):
        del state[name]
    check_complete(state, config)
    output = target_in_config(config).output
    if tied and output is not None:
        found.pop(output.our_matrix, None)
    if decodes(config) and shares_words(config):
        found[OUR_WORDS] = found.pop(f"{OUR_TARGET_WORDS}.weight")
    return found


def to_uer(tensors: Tensors, config: Mapping[str, Any]) -> dict[str, Tensor]:
    """Convert canonical tensors to a UER-py state dict, with the copies of a tied matrix.

    If UER-py's output layer always has a bias and the model lacks it, zeros are written. The head
    of a classifier is written under the names of pretraining and under those of fine-tuning.
    """
    rest, target = dict(tensors), target_in_config(config)
    if decodes(config):
        rest.setdefault(f"{OUR_TARGET_WORDS}.weight", rest[OUR_WORDS])
    table_of_head = rest.get(f"{OUR_TARGET_WORDS}.weight", rest[OUR_WORDS])
    output = target.output
    if output is not None:
        rest.setdefault(output.our_matrix, table_of_head)
        if output.always_biased:
            rest.setdefault(output.our_bias, torch.zeros(len(table_of_head)))
    found = give(rest, (*_embedding_entries(config), *_head_entries(config)))
    found |= encoder_format(config).to_uer(rest, config)
    if decodes(config):
        found |= give(rest, decoder_entries(config))
    if target is CLASSES:
        for theirs, tuned in _FINE_TUNED.items():
            found |= {f"{tuned}.{kind}": found[f"{theirs}.{kind}"] for kind in ("weight", "bias")}
    assert not rest, f"tensors without a UER-py name: {sorted(rest)}"
    return found
