"""What every unit of masking is: a frozen config that chooses which tokens are predicted."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import Field, model_validator

from ptm.arrays import I64, Flags
from ptm.component import Config, PositiveInt, Probability
from ptm.components.objectives.masking.replacing import Replacement, replace_tokens
from ptm.components.objectives.redraw import Redraw
from ptm.rng import U64, seed_of, stream_keys
from ptm.text.tokenizers import Tokenizer
from ptm.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class Maskable:
    """The tokens of a batch, one after another: ids (N), whether special (N), owner (N)."""

    ids: I64
    special: Flags
    word_starts: Flags | None
    owner: I64
    examples: int


@dataclass(frozen=True)
class Masked:
    """Input ids (N), and which tokens are to be predicted (N)."""

    inputs: I64
    predicted: Flags


class HiddenTokens(Config):
    """How many tokens are predicted, and what stands in their place."""

    unit: str
    rate: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Share of an example's ordinary tokens that is predicted."""
    mask: Probability = 0.8
    """Share of the predicted tokens that becomes the mask token."""
    random: Probability = 0.1
    """Share that becomes a random ordinary token; the rest is kept."""
    max_predictions: PositiveInt | None = None
    """The most tokens predicted in one example (BERT's max_predictions_per_seq)."""

    @model_validator(mode="after")
    def _shares_add_up(self) -> Self:
        if self.mask + self.random > 1 + 1e-9:
            raise ValueError(f"mask = {self.mask} and random = {self.random} are more than 1")
        return self


class MaskingConfig(Redraw, HiddenTokens):
    """The part common to all units."""

    @property
    def needs_word_starts(self) -> bool:
        """Whether the store must know where words begin."""
        return False

    @property
    def input_files(self) -> tuple[str, ...]:
        """Files that must be there to mask."""
        return ()

    @property
    def fingerprint(self) -> str:
        """Changes with what the files of a `prepared` masking say."""
        return ""

    def prepared(self, tokenizer: Tokenizer) -> Self:
        """With the files read, if there are any. Raises UserError where they are of no use."""
        return self

    @abstractmethod
    def choose(self, text: Maskable, keys: U64) -> tuple[Flags, I64]:
        """Which tokens are predicted (N), and the group of each that shares one fate (N)."""

    def apply(
        self,
        text: Maskable,
        *,
        example: I64,
        epoch: I64,
        seed: int,
        purpose: str,
        vocabulary: Vocabulary,
    ) -> Masked:
        """Mask every example as its index (E), epoch (E) and `seed` say."""
        keys = stream_keys(seed_of(seed, "masking", purpose), self.drawing_of(epoch), example)
        predicted, group = self.choose(text, keys)
        replacement = Replacement(
            mask_share=self.mask,
            random_share=self.random,
            mask_id=vocabulary.special_id("mask"),
            ordinary_ids=vocabulary.ordinary_ids,
        )
        inputs = replace_tokens(text.ids, predicted, group, text.owner, keys, replacement)
        return Masked(inputs, predicted)
