"""`ptm generate`: generate text with a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ptm.components.objectives.base import Prompt
from ptm.errors import UserError
from ptm.inference.decoding import Sampling, StopRule, beam_search, generate_tokens
from ptm.inference.text_batches import quoted
from ptm.interop.sources.base import ModelSource
from ptm.model.build import build_plan
from ptm.model.plain_model import loaded_model
from ptm.recipe import ModelRecipe
from ptm.text.tokenizers import Tokenizer
from ptm.text.vocabulary import Vocabularies

_BATCH_SIZE = 16
"""Number of texts per batch."""


@dataclass(frozen=True)
class GenerationConfig:
    """Options of generation: greedy by default, sampling or beam search."""

    max_new_tokens: int
    """Maximum number of new tokens per text."""
    sampling: Sampling | None = None
    """None: not sampled; the most likely token is taken."""
    seed: int = 0
    """Seed of the sampling."""
    beams: int = 1
    """More than 1: beam search with that many beams."""
    length_penalty: float = 1.0
    """Exponent of the length by which a beam's log probability is divided."""


class Generator:
    """Generates text with a model."""

    def __init__(self, source: ModelSource) -> None:
        """Raises UserError if the model's objective does not generate text."""
        self._folder = source.folder
        self._recipe: ModelRecipe = source.recipe()
        target = self._recipe.target_tokenizer
        self.tokenizer: Tokenizer = self._recipe.tokenizer.load()
        self.target_tokenizer: Tokenizer = self.tokenizer if target is None else target.load()
        self._vocabularies = Vocabularies(
            self.tokenizer.vocabulary, self.target_tokenizer.vocabulary
        )
        self._check_can_generate()
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
        """Whether the model is an encoder-decoder, which generates a target for a source."""
        return self._recipe.model.decoder is not None

    def generate(self, texts: Sequence[str], choice: GenerationConfig) -> list[str]:
        """Return the generated continuation (or target) of each text.

        Raises UserError for a text that is not valid UTF-8 or longer than the model reads.
        """
        return self.write([self.prompt(text) for text in texts], choice)

    def write(self, prompts: Sequence[Prompt], choice: GenerationConfig) -> list[str]:
        """Return the text generated after each prompt, without the prompt."""
        limits = self._limits(choice)
        if choice.beams > 1:
            return [
                self.target_tokenizer.decode(
                    beam_search(
                        self._model,
                        prompt,
                        replace(limits, max_new_tokens=self._room(prompt, choice)),
                        beams=choice.beams,
                        length_penalty=choice.length_penalty,
                    )
                )
                for prompt in prompts
            ]
        written: list[str] = []
        for first in range(0, len(prompts), _BATCH_SIZE):
            some = prompts[first : first + _BATCH_SIZE]
            rows: list[list[int]] = [[] for _ in some]
            steps = generate_tokens(
                self._model,
                some,
                limits,
                sampling=choice.sampling,
                seed=choice.seed + first,
                room=[self._room(prompt, choice) for prompt in some],
            )
            for tokens in steps:
                for row, token in zip(rows, tokens, strict=True):
                    if token is not None:
                        row.append(token)
            written += [self.target_tokenizer.decode(row) for row in rows]
        return written

    def stream(self, text: str, choice: GenerationConfig) -> Iterator[str]:
        """Yield the generated text in pieces, as soon as each is complete."""
        prompt = self.prompt(text)
        ids: list[int] = []
        emitted = ""
        steps = generate_tokens(
            self._model,
            [prompt],
            self._limits(choice),
            sampling=choice.sampling,
            seed=choice.seed,
            room=[self._room(prompt, choice)],
        )
        for (token,) in steps:
            assert token is not None, "generation stops when its only row ends"
            ids.append(token)
            whole = self.target_tokenizer.decode(ids)
            # A trailing U+FFFD may be an incomplete character; hold it back until its bytes arrive.
            ready = whole.rstrip("\ufffd")
            if ready.startswith(emitted) and len(ready) > len(emitted):
                yield ready[len(emitted) :]
                emitted = ready
        rest = self.target_tokenizer.decode(ids)[len(emitted) :]
        if rest:
            yield rest

    def prompt(self, text: str) -> Prompt:
        """Return the model input for `text`.

        Raises UserError for a text that is not valid UTF-8 or longer than the model reads.
        """
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise UserError(
                f"{text.encode('utf-8', 'replace').decode()}: the text is not valid UTF-8 at "
                f"character {error.start}."
            ) from error
        prompt = self._recipe.objective.prompt(
            self.tokenizer.encode_with_specials(text), self._vocabularies
        )
        assert prompt is not None, "the constructor rejects objectives without prompts"
        if not prompt.begin:
            raise UserError(
                f"{quoted(text)}: the text has no tokens, but the model was trained without a "
                "start token and needs a text to continue. Give a text."
            )
        read = prompt.begin if prompt.source is None else prompt.source
        longest = self._recipe.model.embedding.max_sequence_length
        if longest is not None and len(read) > longest:
            raise UserError(
                f"{quoted(text)}: the text has {len(read)} tokens including special tokens; the "
                f"model reads at most {longest}. Shorten the text."
            )
        return prompt

    def _limits(self, choice: GenerationConfig) -> StopRule:
        """Return the stop conditions that all texts share."""
        vocabulary = self._vocabularies.target
        return StopRule(
            end=vocabulary.special_id("eos"),
            max_new_tokens=choice.max_new_tokens,
            pad=vocabulary.special_id("pad"),
            vocabulary_size=vocabulary.size,
        )

    def _room(self, prompt: Prompt, choice: GenerationConfig) -> int:
        """Return the maximum number of new tokens, limited by the model's number of positions."""
        model = self._recipe.model
        embedding = model.embedding if model.decoder is None else model.decoder_embedding
        if embedding.max_sequence_length is None:
            return choice.max_new_tokens
        # The last generated token is not read, so it needs no position.
        return min(choice.max_new_tokens, embedding.max_sequence_length - len(prompt.begin) + 1)

    def _check_can_generate(self) -> None:
        objective = self._recipe.objective
        if objective.prompt((), self._vocabularies) is None:
            fills = "`ptm fill` or " if "mask" in objective.special_roles else ""
            raise UserError(
                f"{self._folder}: a model trained with objective {objective.type} cannot generate "
                f"text. Use {fills}`ptm embed`."
            )
