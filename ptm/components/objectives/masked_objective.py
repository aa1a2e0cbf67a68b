"""What all objectives with a `masking` block have in common."""

from __future__ import annotations

from typing import Self

from ptm.components.objectives.base import Objective
from ptm.components.objectives.masking import Masking, TokenMasking
from ptm.text.tokenizers import Tokenizer


class MaskedObjective(Objective):
    """An objective that predicts the tokens that its `masking` hides."""

    masking: Masking = TokenMasking()

    @property
    def needs_word_starts(self) -> bool:
        """As the masking does."""
        return self.masking.needs_word_starts

    @property
    def input_files(self) -> tuple[str, ...]:
        """Those of the masking."""
        return self.masking.input_files

    @property
    def fingerprint(self) -> str:
        """That of the masking's files."""
        return self.masking.fingerprint

    def prepared(self, tokenizer: Tokenizer) -> Self:
        """With the masking's files read."""
        return self.model_copy(update={"masking": self.masking.prepared(tokenizer)})
