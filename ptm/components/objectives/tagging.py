"""Sequence labelling: one tag per word, optionally by a conditional random field.

Devlin et al. 2018, section 5.3: the first token of a word predicts its tag.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, model_validator

from ptm.arrays import I64, exclusive_cumsum, ragged_ranges
from ptm.component import Listed
from ptm.components.objectives.base import (
    EXAMPLE_NUMBERS,
    BatchView,
    Metric,
    MicroBatch,
    Objective,
    RandomSource,
    Score,
    TagView,
)
from ptm.components.objectives.class_labels import ClassWeights, check_names, weight_of_each
from ptm.components.objectives.classifier_head import TokenHead
from ptm.components.objectives.masked_tokens import add_special_tokens, length_with_special_tokens
from ptm.components.objectives.scores.class_scores import entity_scores, macro_f1
from ptm.components.objectives.scores.diagnosis import (
    Diagnosis,
    confusions,
    label_scores,
    scores_of_classes,
)
from ptm.data.documents import Documents
from ptm.data.examples import Examples, ExamplesType, TokenSpans
from ptm.data.packing import RowSize
from ptm.data.placement import Placement, row_tensors
from ptm.data.tagged import BEGINS, ENDS, TaggedWindows, tagged_windows
from ptm.nn.model_shape import ModelShape
from ptm.plan import Operation
from ptm.text.tags import Scheme, TagSet, tags_of_entities
from ptm.text.vocabulary import Vocabularies

if TYPE_CHECKING:
    from torch import Tensor

    from ptm.nn.linear_chain_crf import Chains

_SPECIALS = 2
"""[CLS] and [SEP]."""
_FIRST, _LAST = 4, 8
"""Further bits of `word_bits`, beside BEGINS and ENDS: the first and the last word of a window."""


def _as_names(value: Any) -> Any:
    """YAML reads a tag such as 100 as a number."""
    if not isinstance(value, list | tuple):
        return value
    return tuple(
        str(one) if isinstance(one, int) and not isinstance(one, bool) else one for one in value
    )


_Names = Annotated[tuple[str, ...], Listed, BeforeValidator(_as_names)]


class Tagging(Objective):
    """Predict the tag of every word of a sentence."""

    type: Literal["tagging"]
    labels: _Names | None = None
    """The list of tags, such as `[O, B-PER, I-PER]`. Numbers in a corpus are positions in it."""
    entities: _Names | None = None
    """Instead of `labels`: the types of entities, such as `[PER, LOC]`. The tags are then O and,
    for each type in this order, B-PER, I-PER (`bio`) or B-PER, I-PER, E-PER, S-PER (`bioes`)."""
    scheme: Scheme = "bio"
    """How tags mark entities. bio: B-X begins an entity of type X, I-X continues it, all other
    words are O. bioes: also E-X at the end of an entity, and S-X for an entity of one word; M, L
    and U are accepted for I, E and S. plain: tags are classes, as in part-of-speech tagging. `ptm
    preprocess` repairs tags that break the rules, with a warning: the entities stay those that
    `seqeval` reads."""
    crf: bool = False
    """Whether a linear-chain conditional random field scores whole sequences of tags (Lample et
    al. 2016). The loss is then the negative log likelihood of the tags of all sentences, divided
    by the number of words of the global batch."""
    class_weights: ClassWeights | None = None
    """Weight of each tag in the loss, as a list in the order of the tags or by name. The loss is
    the weighted mean over the words of the global batch. Not with `crf`, whose loss is that of
    whole sentences."""
    head: TokenHead = TokenHead()
    constrained_decoding: bool | None = None
    """Whether predicted tags follow the rules of `scheme`; the most likely sequence of them is
    found by the Viterbi algorithm. Default: as `crf`."""

    index_type: ClassVar[ExamplesType] = TaggedWindows
    layouts: ClassVar[tuple[str, ...]] = ("tagged",)
    visibilities: ClassVar[tuple[str, ...]] = ("full", "causal")
    special_roles: ClassVar[tuple[str, ...]] = ("pad", "unk", "cls", "sep")
    targets: ClassVar[tuple[str, ...]] = ("tags", "word_bits", "word_numbers")
    label_modules: ClassVar[tuple[str, ...]] = ("tag_classifier", "crf")
    perplexity_of: ClassVar[str | None] = None

    @model_validator(mode="after")
    def _check_tags(self) -> Self:
        if (self.labels is None) == (self.entities is None):
            raise ValueError("give either labels, the list of tags, or entities, that of types")
        if self.entities is not None and self.scheme == "plain":
            raise ValueError(
                "scheme = plain has no tags of entities. List the tags in labels, or set scheme: "
                "bio or bioes"
            )
        check_names(self.label_set.names)
        self.label_set.check()
        if self.class_weights is not None and self.crf:
            raise ValueError(
                "class_weights has no effect on the loss of a conditional random field. Remove "
                "class_weights or crf"
            )
        weight_of_each(self.class_weights, self.label_set.names)
        if self.constrained_decoding and not self.label_set.has_entities:
            raise ValueError(
                "constrained_decoding = true needs the rules of a scheme, but scheme = plain has "
                "none. Set scheme: bio or bioes, or remove constrained_decoding"
            )
        return self

    @property
    def label_set(self) -> TagSet:
        names = self.labels or tags_of_entities(self.entities or (), self.scheme)
        return _tag_set(names, self.scheme)

    @property
    def _weights(self) -> tuple[float, ...]:
        """The weight of each tag."""
        return weight_of_each(self.class_weights, self.label_set.names)

    @property
    def metrics(self) -> tuple[Metric, ...]:  # type: ignore[override]
        count = "words" if self.class_weights is None else "word_weights"
        return (
            Metric("tagging_loss", count=count, weight=1.0),
            Metric("accuracy", count="words", higher_is_better=True),
        )

    @property
    def scores(self) -> tuple[Score, ...]:  # type: ignore[override]
        if not self.label_set.has_entities:
            return (Score("macro_f1", higher_is_better=True),)
        return tuple(
            Score(f"entity_{name}", higher_is_better=True) for name in ("f1", "precision", "recall")
        )

    @property
    def view(self) -> BatchView:  # type: ignore[override]
        return BatchView(tags=TagView("tags", "word_numbers", self.label_set.names))

    @property
    def head_options(self) -> Mapping[str, Any]:
        return {"head": self.head.effective, "crf": self.crf}

    def has_head(self, names: Collection[str]) -> bool:
        return "tag_classifier.weight" in names

    @property
    def needs_word_starts(self) -> bool:
        return False

    def row_lengths(self, examples: Examples) -> I64:
        return length_with_special_tokens(examples.lengths, parts=1)[:, None]

    @property
    def index_key(self) -> str:
        return "tagged"

    def index(
        self, documents: Documents, *, size: RowSize, vocabularies: Vocabularies, seed: int
    ) -> Examples:
        """Return all sentences; longer ones than a row are split between words."""
        return tagged_windows(documents, size.source - _SPECIALS, tags=len(self.label_set.names))

    def predictions_expected(self, examples: Examples) -> int:
        assert isinstance(examples, TaggedWindows), "the index of this objective"
        return int(examples.words.sum())

    def collate(
        self,
        texts: TokenSpans,
        placement: Placement,
        *,
        vocabularies: Vocabularies,
        random_source: RandomSource,
    ) -> MicroBatch:
        """Return the tensors of [CLS] words [SEP], and of the words (B, T each).

        `tags`: class indexes. `word_bits`: flags of the words at the borders of windows and
        sentences. `word_numbers`: identify the words of a set, in its order; 0 at cells without
        the first token of a word.
        """
        assert texts.tags is not None, "tagged windows have tags"
        assert texts.labels is not None, "tagged windows have the bits of their borders"
        whole, segments = add_special_tokens(texts, vocabularies.source)
        # The place of each token of the text among all tokens, special ones included.
        places = ragged_ranges(exclusive_cumsum(placement.lengths) + 1, texts.lengths)
        words = texts.tags > 0
        tags = np.zeros(whole.ids.size, dtype=np.int64)
        tags[places[words]] = texts.tags[words] - 1
        numbers = np.zeros_like(tags)
        numbers[places[words]] = (
            np.repeat(placement.example * placement.columns, texts.lengths)[words]
            + placement.positions[places[words]]
            + 1
        )
        pad = vocabularies.source.special_id("pad")
        counts: dict[str, float] = {"words": int(words.sum())}
        if self.class_weights is not None:
            counts["word_weights"] = float(np.array(self._weights)[texts.tags[words] - 1].sum())
        bits = _word_bits(texts, texts.labels, places, total=whole.ids.size)
        tensors = {
            **row_tensors(whole.ids, placement, pad=pad, segments=segments),
            "tags": placement.to_grid(tags, fill=0),
            "word_bits": placement.to_grid(bits, fill=0),
            "word_numbers": placement.to_grid(numbers, fill=0),
        }
        return MicroBatch(
            tensors=tensors,
            counts=counts,
            rows=placement.rows,
            examples=int(placement.example.size),
            tokens=int(placement.lengths.sum()),
        )

    def operations(self, shape: ModelShape) -> tuple[Operation, ...]:
        """Return the head: hidden (B, T, D) -> tag_logits (B, T, C), with `crf` transitions."""
        from ptm.nn.example_pooling import DenseTransform
        from ptm.nn.heads import TagClassifier

        tags, width = len(self.label_set.names), shape.hidden_size
        transform = Operation(
            "tag_transform",
            partial(DenseTransform, shape, **self.head.transform),
            ("hidden",),
            ("hidden",),
        )
        classifier = Operation(
            "tag_classifier",
            partial(TagClassifier, width, tags, dropout=shape.dropout, bias=self.head.bias),
            ("hidden",),
            ("tag_logits",),
        )
        head = (*((transform,) if self.head.dense else ()), classifier)
        if not self.crf:
            return head
        from ptm.nn.linear_chain_crf import Transitions

        crf = Operation("crf", partial(Transitions, tags), ("tag_logits",), ("transitions",))
        return (*head, crf)

    @property
    def outputs(self) -> tuple[str, ...]:
        return ("tag_logits", *(("transitions",) if self.crf else ()))

    def metric_sums(
        self, outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        from torch.nn import functional as F

        from ptm.nn.linear_chain_crf import crf_loss

        logits, tags = outputs["tag_logits"].float(), tensors["tags"]
        chains = _chains(tensors)
        if self.crf:
            loss = crf_loss(logits, outputs["transitions"].float(), tags, chains)
        else:
            wanted = tags.masked_fill(~chains.words, -100).flatten()
            weights = None if self.class_weights is None else logits.new_tensor(self._weights)
            loss = F.cross_entropy(
                logits.flatten(0, 1), wanted, weights, ignore_index=-100, reduction="sum"
            )
        hits = (self._decoded(outputs, chains) == tags) & chains.words
        return {"tagging_loss": loss, "accuracy": hits.sum().float()}

    def _decoded(self, outputs: Mapping[str, Tensor], chains: Chains) -> Tensor:
        """The predicted tag of every cell (B, T), without gradients."""
        import torch

        from ptm.nn.linear_chain_crf import FORBIDDEN, viterbi

        logits = outputs["tag_logits"].detach().float()
        constrained = self.crf if self.constrained_decoding is None else self.constrained_decoding
        if not (self.crf or constrained):
            return logits.argmax(dim=-1)
        allowed = torch.from_numpy(self.label_set.allowed).to(logits.device)
        scores = logits.new_zeros(allowed.shape)
        if self.crf:
            scores = outputs["transitions"].detach().float()
        if constrained:
            scores = scores.masked_fill(~allowed, FORBIDDEN)
        return viterbi(logits, scores, chains)

    def predictions(
        self, outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Return the true and the predicted tag of every cell, and the bits of its word (B T)."""
        chains = _chains(tensors)
        return {
            EXAMPLE_NUMBERS: tensors["word_numbers"].flatten(),
            "tag": tensors["tags"].flatten(),
            "predicted": self._decoded(outputs, chains).flatten(),
            "begins": chains.begins.flatten(),
        }

    def probabilities(self, outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the probability of each tag of every word (B, T, C); with `crf` the marginal."""
        from ptm.nn.linear_chain_crf import marginals

        logits = outputs["tag_logits"].detach().float()
        if not self.crf:
            return logits.softmax(dim=-1)
        return marginals(logits, outputs["transitions"].detach().float(), _chains(tensors))

    def compute_scores(self, predictions: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        true, predicted = predictions["tag"], predictions["predicted"]
        if not self.label_set.has_entities:
            return {"macro_f1": macro_f1(true, predicted)}
        begins = predictions["begins"]
        return entity_scores(
            self.label_set.entities(true, begins), self.label_set.entities(predicted, begins)
        )

    def diagnosis(self, predictions: Mapping[str, NDArray[Any]]) -> Diagnosis:
        """Return the confusion matrix of tags, and the scores of each type of entities."""
        tags, names = self.label_set, self.label_set.names
        true, predicted = predictions["tag"], predictions["predicted"]
        matrix = confusions(names, true, predicted)
        if not tags.has_entities:
            return Diagnosis(scores_of_classes(names, true, predicted), matrix)
        begins = predictions["begins"]
        of_true, of_predicted = (tags.entities(one, begins) for one in (true, predicted))
        types, count = tags.entity_types, len(tags.entity_types)
        hits = np.array(of_predicted.matching_types(of_true), dtype=np.int64)
        scores = label_scores(
            types,
            np.bincount(hits, minlength=count),
            np.bincount(of_true.types, minlength=count),
            np.bincount(of_predicted.types, minlength=count),
        )
        return Diagnosis(scores, matrix)


@cache
def _tag_set(names: tuple[str, ...], scheme: Scheme) -> TagSet:
    """The tags; the same object for every micro-batch, which keeps its tables."""
    return TagSet(names, scheme=scheme)


def _word_bits(texts: TokenSpans, labels: I64, places: I64, *, total: int) -> I64:
    """The bits of each of `total` tokens: borders of windows, and of sentences by `labels` (E)."""
    assert texts.tags is not None, "tagged windows have tags"
    words = np.flatnonzero(texts.tags)
    counts = np.add.reduceat(texts.tags > 0, exclusive_cumsum(texts.lengths), dtype=np.int64)
    last = words[np.cumsum(counts) - 1]
    first = words[np.cumsum(counts) - counts]
    bits = np.zeros(total, dtype=np.int64)
    bits[places[first]] += _FIRST + (labels & BEGINS)
    bits[places[last]] += _LAST + (labels & ENDS)
    return bits


def _chains(tensors: Mapping[str, Tensor]) -> Chains:
    from ptm.nn.linear_chain_crf import Chains

    bits = tensors["word_bits"]
    return Chains(
        words=tensors["word_numbers"] > 0,
        first=(bits & _FIRST) > 0,
        last=(bits & _LAST) > 0,
        begins=(bits & BEGINS) > 0,
        ends=(bits & ENDS) > 0,
    )
