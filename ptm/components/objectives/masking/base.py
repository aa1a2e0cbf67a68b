"""The base class of all masking units: a frozen config that chooses the predicted tokens."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
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
    """The N tokens of a batch of E examples, concatenated."""

    ids: I64
    """Token ids (N)."""
    special: Flags
    """Whether each token is a special token, which is never predicted (N)."""
    word_starts: Flags | None
    """Whether a word starts at each token (N); None if the store has no word starts."""
    owner: I64
    """The example that each token belongs to, ascending (N)."""
    examples: int
    """The number of examples E; some may have no token."""


@dataclass(frozen=True)
class Masked:
    """The input ids (N) and a flag for every predicted token (N)."""

    inputs: I64
    predicted: Flags


class HiddenTokens(Config):
    """How many tokens are predicted, and what the model reads in their place."""

    unit: str
    rate: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Share of an example's ordinary (non-special) tokens that is predicted."""
    mask: Probability = 0.8
    """Share of the predicted tokens that is replaced by the mask token."""
    random: Probability = 0.1
    """Share of the predicted tokens that is replaced by a random ordinary token. The rest is left
    unchanged."""
    max_predictions: PositiveInt | None = None
    """Maximum number of predicted tokens per example (BERT's max_predictions_per_seq)."""

    @model_validator(mode="after")
    def _check_shares(self) -> Self:
        if self.mask + self.random > 1 + 1e-9:
            raise ValueError(
                f"mask = {self.mask} and random = {self.random} add up to more than 1, but they "
                "are shares of the predicted tokens. Reduce one of them."
            )
        return self


class MaskingConfig(Redraw, HiddenTokens):
    """The keys and methods that all masking units share."""

    @property
    def needs_word_starts(self) -> bool:
        """Whether the store must record where words begin."""
        return False

    @property
    def input_files(self) -> Mapping[str, str]:
        """Paths of the files that this masking reads, by field."""
        return {}

    @property
    def fingerprint(self) -> str:
        """A hash of the content of `input_files`, empty without files. Requires `with_files`."""
        return ""

    def with_files(self, tokenizer: Tokenizer) -> Self:
        """A copy with `input_files` read, or `self` without files.

        Raises UserError if a file cannot be read or has nothing usable.
        """
        return self

    @abstractmethod
    def choose(self, text: Maskable, keys: U64) -> tuple[Flags, I64]:
        """Choose the predicted tokens; `keys` (E) is one random stream per example.

        Returns a flag for every predicted token (N) and its group (N). Tokens of one group are
        all masked, all randomised or all kept.
        """

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
        """Mask every example: a function of its index (E), its epoch (E) and `seed` alone.

        `purpose` separates the random streams of, for example, training and evaluation.
        """
        keys = stream_keys(seed_of(seed, "masking", purpose), self.variant_of(epoch), example)
        predicted, group = self.choose(text, keys)
        replacement = Replacement(
            mask_share=self.mask,
            random_share=self.random,
            mask_id=vocabulary.special_id("mask"),
            ordinary_ids=vocabulary.ordinary_ids,
        )
        inputs = replace_tokens(text.ids, predicted, group, text.owner, keys, replacement)
        return Masked(inputs, predicted)
