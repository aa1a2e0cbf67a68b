"""What T5, BART and PEGASUS share: which models they can hold, and the renaming of tensors."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ptm.components.decoders.transformer import TransformerDecoder
from ptm.components.encoders.transformer import Transformer
from ptm.components.objectives import Objective
from ptm.components.objectives.denoising import Denoising
from ptm.components.objectives.next_tokens import LmHead
from ptm.components.objectives.seq2seq import Seq2Seq
from ptm.errors import UserError
from ptm.interop.hf.base import Tensors
from ptm.recipe.model_block import ModelBlock
from ptm.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from torch import Tensor


NameMap = Mapping[str, tuple[str, ...]]
"""Canonical name to the names of transformers' tensors that, concatenated by rows, make it up."""

WORDS, OUTPUT, OUTPUT_BIAS = "word_embedding.weight", "lm_unembed.weight", "lm_bias.bias"


@dataclass(frozen=True)
class Stacks:
    """The two stacks and the head of a model that `structure_reason` accepted."""

    encoder: Transformer
    decoder: TransformerDecoder
    head: LmHead

    @staticmethod
    def of(model: ModelBlock, objective: Objective) -> Stacks:
        """The stacks of `model` and the head of `objective`."""
        head = getattr(objective, "head", None)
        assert isinstance(model.encoder, Transformer), "the encoder was checked before"
        assert isinstance(model.decoder, TransformerDecoder), "the decoder was checked before"
        assert isinstance(head, LmHead), "the objective was checked before"
        return Stacks(model.encoder, model.decoder, head)


def structure_reason(model: ModelBlock, objective: Objective) -> str | None:
    """Why a model is not an encoder-decoder transformer with a token head; None if it is."""
    stacks = (model.encoder, model.decoder)
    if not isinstance(stacks[0], Transformer) or not isinstance(stacks[1], TransformerDecoder):
        return "it is not an encoder-decoder transformer"
    if not isinstance(getattr(objective, "head", None), LmHead):
        return f"objective.type = {objective.type}"
    return None


def special_ids(vocabulary: Vocabulary, objective: Objective) -> dict[str, int | None]:
    """Config keys of the special token ids; `objective`: the objective of the decoder.

    A target that begins with bos is generated with bos forced, as transformers does for BART,
    unless the objective has `force_bos: false`.
    """
    assert isinstance(objective, Denoising | Seq2Seq), "the objective was checked before"
    start = objective.start_ids(vocabulary)
    forces = objective.target_bos and objective.force_bos
    forced = {"forced_bos_token_id": start[1]} if forces else {}
    return {
        "pad_token_id": vocabulary.special_id("pad"),
        "bos_token_id": vocabulary.special_id("bos") if vocabulary.has("bos") else None,
        "eos_token_id": vocabulary.special_id("eos"),
        "decoder_start_token_id": start[0],
        **forced,
    }


def split_and_rename(tensors: Tensors, parts: NameMap) -> dict[str, Tensor]:
    """The canonical tensors of `parts`, split by rows and renamed; OUTPUT may be missing."""
    return {
        name: piece
        for ours, theirs in parts.items()
        if ours in tensors or ours != OUTPUT
        for name, piece in zip(theirs, tensors[ours].chunk(len(theirs)), strict=True)
    }


def rename_and_concatenate(
    theirs: Tensors, parts: NameMap, *, optional: Collection[str]
) -> dict[str, Tensor]:
    """The inverse of `to_hf_names`; `optional`: canonical names that may be missing.

    Raises KeyError for another missing tensor, UserError for parts of different shapes.
    """
    import torch

    found = {}
    for ours, names in parts.items():
        if ours in optional and not any(name in theirs for name in names):
            continue
        pieces = [theirs[name] for name in names]
        for name, piece in zip(names, pieces, strict=True):
            if piece.shape != pieces[0].shape:
                raise UserError(
                    f"{name} has the shape {tuple(piece.shape)}, but {names[0]} has "
                    f"{tuple(pieces[0].shape)}; both must have the same shape."
                )
        found[ours] = torch.cat(pieces) if len(pieces) > 1 else pieces[0]
    return found


def check_tied_copies(theirs: Tensors, words: str, copies: Collection[str]) -> None:
    """Raise UserError if a tensor that must be tied to the word embedding differs from it."""
    import torch

    for name in copies:
        if name in theirs and not torch.equal(theirs[name], theirs[words]):
            raise UserError(
                f"{name} differs from {words}, which is not supported. Supported: models with one "
                "word embedding."
            )


def module_names(
    ours: str, theirs: Collection[str], kinds: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """Names of a module's tensors (`kinds`: weight, bias), canonical name to transformers'."""
    return {f"{ours}.{kind}": tuple(f"{name}.{kind}" for name in theirs) for kind in kinds}
