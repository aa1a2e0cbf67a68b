"""Answers of a model of tags: entities with their place in the text, or the tag of each word.

Shapes: W words of all sentences, E entities, B rows and T cells of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import I64, Flags, exclusive_cumsum, ragged_ranges
from ptm.components.objectives.base import EXAMPLE_NUMBERS
from ptm.components.objectives.scores.class_scores import EntityCounts
from ptm.components.objectives.tagging import Tagging
from ptm.counted import counted
from ptm.data.examples import TokenSpans
from ptm.data.tagged import BEGINS, ENDS, word_windows
from ptm.errors import UserError
from ptm.inference.predict.base import (
    InputFiles,
    Prediction,
    PredictionOptions,
    Predictor,
    Window,
)
from ptm.inference.predict.row_model import RowModel
from ptm.inference.predict.tagged_files import InputSentence, SentenceReader
from ptm.inference.predict.unanswered import Unanswered
from ptm.interop.sources.base import ModelSource
from ptm.store.texts import TextTokenizer
from ptm.text.plain_words import rule_of
from ptm.text.tags import Entities, TagSet

_SPECIALS = 2
"""[CLS] and [SEP]."""


@dataclass(frozen=True)
class _Tagged:
    """The words of several sentences (W): predicted class, its probability, first of a sentence."""

    tags: I64
    probabilities: NDArray[np.float64]
    begins: Flags


class TaggingPredictor(Predictor[InputSentence]):
    """Predicts tags. Tags in the files give the F1 of entities, or of the tags the accuracy."""

    type: ClassVar[str] = "tagging"
    uses: ClassVar[tuple[str, ...]] = ("words", "text_field", "label_field")

    def __init__(self, source: ModelSource, options: PredictionOptions) -> None:
        objective = source.recipe().objective.without_teachers
        assert isinstance(objective, Tagging), "the objective of this predictor"
        self._objective = objective
        self._model = RowModel(source, objective, options, outputs=objective.outputs)
        tokenizer = self._model.tokenizer
        self._tokenize = TextTokenizer(tokenizer, None, np.uint32)
        self._reader = SentenceReader(
            objective.label_set, options.words or rule_of(tokenizer.vocabulary)
        )
        self._reading = source.data_recipe().data
        self._window = options.window
        self._unanswered = Unanswered()
        self._scores = _Scores(objective.label_set)
        self._answered = self._split = self._without_token = 0

    def windows(self, files: InputFiles) -> Iterator[Window[InputSentence]]:
        return self._reader.windows(files, self._reading, window=self._window)

    def columns(self, first: Window[InputSentence]) -> tuple[str, ...]:
        return ("input", "type", "text", "start", "end", "score")

    def predict(self, inputs: Sequence[InputSentence]) -> list[Prediction]:
        number = self._answered + 1
        self._answered += len(inputs)
        found = [_without_answer(one) for one in inputs]
        usable = [index for index, one in enumerate(inputs) if one.spans]
        for one in inputs:
            if not one.spans:
                self._unanswered.note(one.place, one.problem)
        if not usable:
            return found
        sentences = [inputs[index] for index in usable]
        counts = np.array([len(one.spans) for one in sentences], dtype=np.int64)
        tagged = self._tagged(sentences, counts)
        self._scores.add(sentences, tagged)
        entities = self._entities(tagged)
        firsts = exclusive_cumsum(counts)
        cuts = np.searchsorted(entities.first, [*firsts, counts.sum()])
        for at, index in enumerate(usable):
            mine = slice(cuts[at], cuts[at + 1])
            words = slice(firsts[at], firsts[at] + counts[at])
            spans = [
                self._span(inputs[index], entities, tagged, entity, int(firsts[at]))
                for entity in range(mine.start, mine.stop)
            ]
            tags = [self._objective.label_set.names[tag] for tag in tagged.tags[words].tolist()]
            found[index] = _prediction(inputs[index], number + index, spans, tags)
        return found

    def _tagged(self, sentences: Sequence[InputSentence], counts: I64) -> _Tagged:
        """The predicted tags of the words of `sentences`, each of `counts` words."""
        encoded, without = self._tokenize.words([w for one in sentences for w in one.words])
        self._without_token += without
        total = int(counts.sum())
        begins = np.zeros(total, dtype=bool)
        begins[exclusive_cumsum(counts)] = True
        firsts = np.zeros(encoded.tokens.size, dtype=np.int64)
        # Class 0 at each first token of a word: without a true tag any class will do.
        firsts[exclusive_cumsum(encoded.lengths)] = 1
        starts = exclusive_cumsum(encoded.lengths)[exclusive_cumsum(counts)]
        lengths = np.diff(starts, append=encoded.tokens.size)
        windows = word_windows(
            lengths,
            firsts > 0,
            self._model.longest - _SPECIALS,
            sentence=np.arange(lengths.size, dtype=np.int64),
        )
        windows = windows[np.lexsort((windows[:, 1], windows[:, 0]))]
        sentence, offset, kept, covered, words = windows.T
        self._split += int(np.count_nonzero(np.bincount(sentence) > 1))
        labels = BEGINS * (offset == 0) + ENDS * (offset + covered == lengths[sentence])
        at, of_words = starts[sentence] + offset, exclusive_cumsum(words)
        tags = np.empty(total, dtype=np.int64)
        probabilities = np.empty(total)
        for chosen in self._model.batches(kept + _SPECIALS):
            tokens = ragged_ranges(at[chosen], kept[chosen])
            texts = TokenSpans(
                encoded.tokens[tokens].astype(np.int64),
                kept[chosen][:, None],
                None,
                labels[chosen].astype(np.int64),
                firsts[tokens],
            )
            mine = ragged_ranges(of_words[chosen], words[chosen])
            tags[mine], probabilities[mine] = self._run(texts)
        return _Tagged(tags, probabilities, begins)

    def _run(self, texts: TokenSpans) -> tuple[I64, NDArray[np.float64]]:
        """The predicted class of the words of examples, in their order, and its probability."""
        outputs, tensors = self._model.run(texts)
        found = self._objective.predictions(outputs, tensors)
        tags = found["predicted"]
        of_tags = self._objective.probabilities(outputs, tensors).flatten(0, 1)
        likely = of_tags.gather(1, tags[:, None]).squeeze(1)
        numbers = found[EXAMPLE_NUMBERS].cpu().numpy()
        # Cells without a word have the number 0; those of words ascend along examples.
        order = np.argsort(numbers, kind="stable")[np.count_nonzero(numbers == 0) :]
        return tags.cpu().numpy()[order], likely.double().cpu().numpy()[order]

    def _entities(self, tagged: _Tagged) -> Entities:
        """The entities of the words; of classes without entities, each word."""
        tags = self._objective.label_set
        if tags.has_entities:
            return tags.entities(tagged.tags, tagged.begins)
        words = np.arange(tagged.tags.size, dtype=np.int64)
        return Entities(words, words, tagged.tags)

    def _span(
        self, one: InputSentence, entities: Entities, tagged: _Tagged, entity: int, first: int
    ) -> dict[str, object]:
        """An entity of a sentence whose first word is the word `first` of all sentences."""
        begin, last = int(entities.first[entity]), int(entities.last[entity])
        start, end = one.spans[begin - first][0], one.spans[last - first][1]
        tags = self._objective.label_set
        names = tags.entity_types if tags.has_entities else tags.names
        return {
            "type": names[int(entities.types[entity])],
            "text": one.text[start:end],
            "start": start,
            "end": end,
            "score": float(tagged.probabilities[begin : last + 1].mean()),
        }

    def notes(self) -> list[str]:
        found = []
        if self._split:
            found.append(
                f"{counted(self._split, 'text was', 'texts were')}"
                f" longer than {self._model.longest} tokens "
                "and split between words; no word is left out. --sequence-length sets the limit."
            )
        if self._without_token:
            found.append(
                f"{counted(self._without_token, 'word has', 'words have')}"
                " no token of the model, which reads "
                "the unknown token."
            )
        return [*found, *self._unanswered.sentences(), *self._scores.sentences()]


def _without_answer(one: InputSentence) -> Prediction:
    values: dict[str, object] = {"entities": None, "tags": None, "words": one.words}
    return Prediction(values, (), lines=())


def _prediction(
    one: InputSentence, number: int, spans: list[dict[str, object]], tags: list[str]
) -> Prediction:
    values: dict[str, object] = {"entities": spans, "tags": tags, "words": one.words}
    if one.words_given:
        values["text"] = one.text
    if one.tags is not None:
        values["labels"] = list(one.tags)
    lines = tuple(
        (
            str(number),
            str(span["type"]),
            " ".join(str(span["text"]).split()),
            str(span["start"]),
            str(span["end"]),
            f"{span['score']:.6g}",
        )
        for span in spans
    )
    return Prediction(values, (), lines=lines)


class _Scores:
    """Scores of the predicted tags by those of the files."""

    def __init__(self, tags: TagSet) -> None:
        self._tags = tags
        self._counts = EntityCounts()
        self._words = self._hits = self._sentences = self._unknown = 0
        self._first_unknown = ""

    def add(self, sentences: Sequence[InputSentence], tagged: _Tagged) -> None:
        """Count the sentences that have tags."""
        true = np.full(tagged.tags.size, -1, dtype=np.int64)
        at = 0
        for one in sentences:
            given = None if one.tags is None else self._classes(one)
            if given is not None:
                self._sentences += 1
                true[at : at + len(given)] = given
            at += len(one.spans)
        # Sentences without tags have -1 at all words.
        known = true >= 0
        true, found, begins = true[known], tagged.tags[known], tagged.begins[known]
        self._words += true.size
        self._hits += int(np.count_nonzero(true == found))
        if self._tags.has_entities:
            self._counts += EntityCounts.of(
                self._tags.entities(true, begins), self._tags.entities(found, begins)
            )

    def _classes(self, one: InputSentence) -> list[int] | None:
        """The classes of a sentence's tags; None if the model does not have one of them."""
        assert one.tags is not None, "the sentence has tags"
        try:
            return [self._tags.tag_index(tag) for tag in one.tags]
        except UserError as error:
            self._unknown += 1
            self._first_unknown = self._first_unknown or f"{one.place}: {error}"
            return None

    def sentences(self) -> list[str]:
        """Sentences for the user; none without tags in the files."""
        found = []
        if self._unknown:
            found.append(
                f"{counted(self._unknown, 'sentence has', 'sentences have')}"
                " tags that the model does not "
                f"have, and no score; the first is {self._first_unknown}"
            )
        if not self._words:
            return found
        scores = self._counts.scores if self._tags.has_entities else {}
        shown = {**scores, "accuracy": self._hits / self._words}
        values = ", ".join(f"{name.replace('_', ' ')} {value:.5f}" for name, value in shown.items())
        return [
            *found,
            f"{values} on {counted(self._words, 'word')} of {counted(self._sentences, 'sentence')}",
        ]
