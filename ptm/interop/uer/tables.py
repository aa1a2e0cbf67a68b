"""Rows of the embedding tables: where positions begin, how many segments there are.

UER-py's positions begin in row 0, its segment tables have three rows. Tables of `ptm` may begin
with rows that are no position, as in XLM-RoBERTa and BART.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ptm.errors import UserError
from ptm.interop.uer.config import FIRST_POSITION_ROW
from ptm.recipe.model_block import ModelBlock

if TYPE_CHECKING:
    from torch import Tensor

Tensors = Mapping[str, "Tensor"]

POSITIONS, SEGMENTS = "embedding.position.weight", "embedding.segment.weight"
_SIDES = ("", "target_")
"""Prefixes of the embeddings of encoder and decoder."""
_SEGMENT_ROWS = 3
"""Rows of every UER-py segment table: padding, first and second segment."""
_XLM_ROBERTA_OFFSET = 2
"""Row of the first position in an XLM-RoBERTa's table."""
_UNUSED_WAVES = 2
"""Sinusoidal positions of UER-py that no token has; the first token has position 2."""


@dataclass(frozen=True)
class ImportedTables:
    """What the tables of an imported model without a decoder are."""

    is_xlm_roberta: bool
    """The positions are XLM-RoBERTa's, moved to row 0 and padded with zero rows."""
    one_segment: bool
    """The row of the second segment is all zeros, so that it is unused."""

    @classmethod
    def of(cls, tensors: Tensors) -> ImportedTables:
        """Read the tables by their canonical names."""
        positions, segments = tensors.get(POSITIONS), tensors.get(SEGMENTS)
        is_xlm_roberta = (
            positions is not None
            and len(positions) > _XLM_ROBERTA_OFFSET
            and not positions[-_XLM_ROBERTA_OFFSET:].any()
        )
        one = segments is not None and len(segments) > 2 and not segments[2].any()
        return cls(is_xlm_roberta, is_xlm_roberta and one)

    def options(self) -> dict[str, Any]:
        """Return keys of `model.embedding`."""
        offset = {"position_offset": _XLM_ROBERTA_OFFSET} if self.is_xlm_roberta else {}
        return {**offset, **({"segments": 1} if self.one_segment else {})}

    def tensors(self, tensors: Tensors) -> dict[str, Tensor]:
        """Return the tensors with the rows where `ptm` has them."""
        found = dict(tensors)
        if self.is_xlm_roberta:
            found[POSITIONS] = found[POSITIONS].roll(_XLM_ROBERTA_OFFSET, dims=0)
        if self.one_segment:
            found[SEGMENTS] = found[SEGMENTS][:2]
        return found


def with_first_rows(tensors: Tensors) -> dict[str, Tensor]:
    """Return the tensors of an encoder-decoder with zero rows before the first position."""
    import torch

    found = dict(tensors)
    for name in (f"{side}{POSITIONS}" for side in _SIDES):
        if name in found:
            table = found[name]
            found[name] = torch.cat((table.new_zeros(FIRST_POSITION_ROW, table.shape[1]), table))
    return found


def tables_to_uer(tensors: Tensors, model: ModelBlock) -> dict[str, Tensor]:
    """Move the positions to start at row 0 and pad the segment tables to three rows.

    Without a decoder a position table keeps its size; rows of zeros show where it began.
    """
    import torch

    found = dict(tensors)
    embeddings = (model.embedding, model.decoder_embedding)
    for side, embedding in zip(_SIDES, embeddings, strict=True):
        name, offset = f"{side}{POSITIONS}", embedding.position_offset
        if name in found and offset:
            kept = found[name][offset:]
            zeros = kept.new_zeros(0 if model.decoder else offset, kept.shape[1])
            found[name] = torch.cat((kept, zeros))
        name = f"{side}{SEGMENTS}"
        if name in found:
            segments = found[name]
            spare = segments.new_zeros(_SEGMENT_ROWS - len(segments), segments.shape[1])
            found[name] = torch.cat((segments, spare))
    return found


def check_waves(model: ModelBlock, pad: int) -> None:
    """Raise UserError if UER-py cannot compute the sinusoidal positions of a model.

    It sets the row with the number of the padding id `pad` to zero, and needs an even width.
    """
    if "sinusoidal" not in (*model.embedding.parts, *model.decoder_embedding.parts):
        return
    width = model.embedding.size or model.encoder.hidden_size
    if width % 2:
        raise UserError(
            f"UER-py has sinusoidal positions of even widths only, but the width is {width}."
        )
    if pad >= _UNUSED_WAVES:
        raise UserError(
            f"the padding token has the id {pad}, for which UER-py sets the sinusoidal position of "
            f"token {pad - _UNUSED_WAVES} to zero. Supported: sinusoidal positions with a padding "
            "id below 2."
        )
