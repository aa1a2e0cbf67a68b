"""`ptm generate`: texts that a model writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ptm.components.objectives.base import Prompt
from ptm.errors import UserError
from ptm.inference.decoding import Limits, Sampling, continued, searched
from ptm.inference.text_batches import quoted
from ptm.interop.sources.base import Source
from ptm.model.build import build_plan
from ptm.model.plain_model import loaded_model
from ptm.recipe import ModelRecipe
from ptm.text.tokenizers import Tokenizer
from ptm.text.vocabulary import Vocabularies

_TOGETHER = 16
"""Texts that are continued side by side."""


@dataclass(frozen=True)
class Choice:
    """How the next token is found: the likeliest, one drawn, or by several beams."""

    longest: int
    """New tokens, at most."""
    sampling: Sampling | None = None
    seed: int = 0
    beams: int = 1
    length_penalty: float = 1.0


class Generator:
    """A model that writes."""

    def __init__(self, source: Source) -> None:
        """Raises UserError where the source's objective writes no texts."""
        self._folder = source.folder
        self._recipe: ModelRecipe = source.recipe()
        target = self._recipe.target_tokenizer
        self.tokenizer: Tokenizer = self._recipe.tokenizer.load()
        self.target_tokenizer: Tokenizer = self.tokenizer if target is None else target.load()
        self._vocabularies = Vocabularies(
            self.tokenizer.vocabulary, self.target_tokenizer.vocabulary
        )
        self._refuse_mute()
        plan = build_plan(
            self._recipe.model,
            self._recipe.objective,
            vocabulary_size=self._vocabularies.source.size,
            target_vocabulary_size=self._vocabularies.target.size,
            outputs=("logits",),
        )
        self._model = loaded_model(plan, source.tensors(), source=str(source.folder))

    @property
    def has_decoder(self) -> bool:
        """Whether it turns a source into a target, instead of going on from a text."""
        return self._recipe.model.decoder is not None

    def generate(self, texts: Sequence[str], choice: Choice) -> list[str]:
        """What it writes after, or for, each of `texts`. Raises UserError for one too long."""
        return self.write([self.prompt(text) for text in texts], choice)

    def write(self, prompts: Sequence[Prompt], choice: Choice) -> list[str]:
        """What it writes after each of `prompts`."""
        limits = self._limits(prompts, choice)
        if choice.beams > 1:
            return [
                self.target_tokenizer.decode(
                    searched(
                        self._model,
                        prompt,
                        limits,
                        beams=choice.beams,
                        length_penalty=choice.length_penalty,
                    )
                )
                for prompt in prompts
            ]
        written: list[str] = []
        for first in range(0, len(prompts), _TOGETHER):
            some = prompts[first : first + _TOGETHER]
            rows: list[list[int]] = [[] for _ in some]
            steps = continued(
                self._model, some, limits, sampling=choice.sampling, seed=choice.seed + first
            )
            for tokens in steps:
                for row, token in zip(rows, tokens, strict=True):
                    if token is not None:
                        row.append(token)
            written += [self.target_tokenizer.decode(row) for row in rows]
        return written

    def stream(self, text: str, choice: Choice) -> Iterator[str]:
        """What it writes, piece by piece as it is found."""
        prompt = self.prompt(text)
        ids: list[int] = []
        said = ""
        steps = continued(
            self._model,
            [prompt],
            self._limits([prompt], choice),
            sampling=choice.sampling,
            seed=choice.seed,
        )
        for (token,) in steps:
            assert token is not None, "the only row goes on"
            ids.append(token)
            whole = self.target_tokenizer.decode(ids)
            # What may still become another character waits for its other bytes.
            ready = whole.rstrip("\ufffd")
            if ready.startswith(said) and len(ready) > len(said):
                yield ready[len(said) :]
                said = ready
        rest = self.target_tokenizer.decode(ids)[len(said) :]
        if rest:
            yield rest

    def prompt(self, text: str) -> Prompt:
        """What the model reads of `text`. Raises UserError for what is no text or too long."""
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise UserError(
                f"{text.encode('utf-8', 'replace').decode()}: is not UTF-8 text at character "
                f"{error.start}."
            ) from error
        prompt = self._recipe.objective.prompt(
            self.tokenizer.encode_with_specials(text), self._vocabularies
        )
        assert prompt is not None, "it writes texts"
        if not prompt.begin:
            raise UserError(
                f"{quoted(text)}: the model goes on from a text and was trained without a token "
                "to begin with: give it one."
            )
        read = prompt.begin if prompt.source is None else prompt.source
        longest = self._recipe.model.embedding.longest_sequence
        if longest is not None and len(read) > longest:
            raise UserError(
                f"{quoted(text)}: the text has {len(read)} tokens, special ones included; the "
                f"model reads {longest}."
            )
        return prompt

    def _limits(self, prompts: Sequence[Prompt], choice: Choice) -> Limits:
        """How long the texts may become: no position is beyond the model's table of them."""
        model = self._recipe.model
        embedding = model.embedding if model.decoder is None else model.decoder_embedding
        room = choice.longest
        if embedding.longest_sequence is not None:
            begun = max(len(prompt.begin) for prompt in prompts)
            # The last token of a text need not be read again.
            room = min(room, embedding.longest_sequence - begun + 1)
        vocabulary = self._vocabularies.target
        return Limits(
            end=vocabulary.special_id("sep"), longest=room, pad=vocabulary.special_id("pad")
        )

    def _refuse_mute(self) -> None:
        objective = self._recipe.objective
        if objective.prompt((), self._vocabularies) is None:
            raise UserError(
                f"{self._folder}: was trained with objective {objective.type}, which writes no "
                "texts; `ptm fill` or `ptm embed` show what it learnt."
            )
