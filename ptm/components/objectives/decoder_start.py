"""The special tokens that a decoder reads before its target, shared by all encoder-decoders."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from ptm.component import Config
from ptm.text.vocabulary import Vocabulary


class DecoderStart(Config):
    """The recipe keys `decoder_start`, `target_bos` and `force_bos`."""

    decoder_start: Literal["bos", "pad", "eos"] | None = None
    """Role of the token that the decoder reads first (`decoder_start_token_id` in transformers).
    Default: bos, or pad if the vocabulary has no bos."""
    target_bos: bool = False
    """Whether targets begin with the bos token, so that the decoder reads its start and bos, and
    predicts bos. facebook/bart has `decoder_start: eos` and `target_bos: true`."""
    force_bos: bool = True
    """Whether a text is generated from the bos of `target_bos` (`forced_bos_token_id` in
    transformers). With false, the model predicts its first token, which can be another one."""

    @model_validator(mode="after")
    def _check_one_bos(self) -> Self:
        if self.target_bos and self.decoder_start in (None, "bos"):
            raise ValueError(
                "target_bos = true needs decoder_start: eos or pad, because the decoder would read "
                "bos twice. Set decoder_start or remove target_bos."
            )
        return self

    @model_validator(mode="after")
    def _check_bos_to_force(self) -> Self:
        if not self.force_bos and not self.target_bos:
            raise ValueError(
                "force_bos = false needs target_bos: true, because other targets have no bos. "
                "Remove force_bos."
            )
        return self

    @property
    def target_specials(self) -> int:
        """Number of special tokens that the decoder reads with every target."""
        return 1 + self.target_bos

    @property
    def index_suffix(self) -> str:
        """What `target_specials` adds to the key of an index; empty for the default."""
        return "-bos" if self.target_bos else ""

    def start_ids(self, vocabulary: Vocabulary) -> tuple[int, ...]:
        """The ids that the decoder reads before the text; it predicts all but the first.

        Raises UserError if the vocabulary lacks one of these tokens.
        """
        default = "bos" if vocabulary.has("bos") else "pad"
        start = vocabulary.special_id(self.decoder_start or default)
        return (start, vocabulary.special_id("bos")) if self.target_bos else (start,)

    def given_ids(self, vocabulary: Vocabulary) -> tuple[int, ...]:
        """The ids that the decoder reads before it generates. Raises as `start_ids`."""
        ids = self.start_ids(vocabulary)
        return ids if self.force_bos else ids[:1]
