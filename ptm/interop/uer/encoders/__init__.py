"""The encoders of UER-py and TencentPretrain: their configs and tensors, one kind per file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ptm.components.encoders import Encoder
from ptm.interop.uer.encoders.base import EncoderFormat
from ptm.interop.uer.encoders.gated_cnn import GatedConvolutions
from ptm.interop.uer.encoders.recurrent import Recurrent
from ptm.interop.uer.encoders.transformer import TransformerStack

if TYPE_CHECKING:
    from torch import Tensor

TRANSFORMER = "transformer"
_ONE, _TWO = {"": "rnn"}, {"forward_stream.": "rnn_forward", "backward_stream.": "rnn_backward"}
"""Modules of recurrent encoders: prefix in `ptm` to UER-py's name."""
FORMATS: Mapping[str, EncoderFormat] = {
    TRANSFORMER: TransformerStack(),
    "bert": TransformerStack(),
    "rnn": Recurrent("rnn", gates=1, modules=_ONE),
    "lstm": Recurrent("lstm", gates=4, modules=_ONE),
    "gru": Recurrent("gru", gates=3, modules=_ONE),
    "birnn": Recurrent("birnn", gates=1, modules=_TWO),
    "bilstm": Recurrent("bilstm", gates=4, modules=_TWO),
    "bigru": Recurrent("bigru", gates=3, modules=_TWO),
    "gatedcnn": GatedConvolutions(),
}
"""By the value of the config's `encoder`; "bert" is an older name."""


def format_for(encoder: Encoder) -> EncoderFormat | None:
    """Return the format of an encoder of a recipe; None if UER-py lacks the encoder."""
    return next((one for one in FORMATS.values() if one.type == encoder.type), None)


def encoder_in_tensors(theirs: Mapping[str, Tensor]) -> str:
    """Return the `encoder` of a state dict whose config does not name it."""
    found = (name for name, one in FORMATS.items() if one.describes(theirs))
    return next(found, TRANSFORMER)


__all__ = ["FORMATS", "TRANSFORMER", "EncoderFormat", "encoder_in_tensors", "format_for"]
