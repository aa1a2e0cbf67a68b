"""Question answering: equal to transformers, windows of its tokenizers, spans, whole questions."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers.processors import BertProcessing, RobertaProcessing
from torch import Tensor, nn
from transformers import BertConfig, BertForQuestionAnswering, PreTrainedTokenizerFast

from ptm.components.objectives.base import EXAMPLE_NUMBERS, MicroBatch, RandomSource
from ptm.components.objectives.extraction import Extraction, window_cells
from ptm.data.documents import Documents
from ptm.data.packing import RowSize, one_per_row, pack_sides
from ptm.data.placement import place
from ptm.data.question_windows import QuestionWindows
from ptm.engines.predictions import figures_of
from ptm.interop.hf.families.bert import Bert
from ptm.interop.hf.heads.question_answering import QuestionAnswering
from ptm.interop.hf.with_head import FamilyWithHead
from ptm.loading.batches import step_batch
from ptm.model.build import build_plan
from ptm.model.plain_model import PlainModel
from ptm.nn.answer_spans import WindowCells, best_spans, window_logits
from ptm.recipe.model_block import ModelBlock
from ptm.store.reader import TokenStore
from ptm.text.tokenizers.wordpiece import WordPiece
from ptm.text.vocabulary import Vocabularies
from tests.support.question_texts import (
    make_store,
    paragraph,
    paragraphs,
    question,
    squad,
    write_json,
)
from tests.support.small_runs import vocab

LENGTH = 40
BLOCK = ModelBlock.model_validate(
    {
        "dropout": 0.0,
        "embedding": {"positions": LENGTH, "parts": ["word", "position", "segment"]},
        "encoder": {
            "type": "transformer",
            "layers": 2,
            "hidden_size": 32,
            "heads": 2,
            "feed_forward_size": 64,
        },
    }
)


def objective_of(**options: Any) -> Extraction:
    small = {"doc_stride": 6, "max_question_length": 8, "max_answer_length": 16}
    return Extraction.model_validate({"type": "extraction", **small, **options})


class Rows:
    """The rows of a store, as an objective lays them out."""

    def __init__(self, folder: Path, some: list[dict[str, Any]], *, held_out: bool = True) -> None:
        tokenizer = WordPiece(type="wordpiece", vocab=str(vocab()))
        make_store(folder / "s", write_json(folder / "s.json", squad(*some)), tokenizer=tokenizer)
        self.tokenizer = tokenizer.load()
        self.store = TokenStore.open(folder / "s")
        self.vocabularies = Vocabularies.shared(self.tokenizer.vocabulary)
        self.held_out = held_out

    def index(self, objective: Extraction, *, length: int = LENGTH) -> QuestionWindows:
        found = objective.index(
            Documents(self.store, held_out=self.held_out),
            size=RowSize(length, length),
            vocabularies=self.vocabularies,
            seed=7,
        )
        assert isinstance(found, QuestionWindows)
        return found

    def batch(
        self, objective: Extraction, *, packing: bool = True, length: int = LENGTH
    ) -> MicroBatch:
        """All rows as one micro-batch."""
        size = RowSize(length, length)
        examples = self.index(objective, length=length)
        lengths = objective.row_lengths(examples)
        packed = pack_sides(lengths, size) if packing else one_per_row(len(examples.lengths))
        chosen = np.arange(len(packed))
        placement = place(packed, chosen, np.zeros_like(chosen), lengths=lengths, size=size)
        return objective.collate(
            examples.texts(self.store, placement.example),
            placement,
            vocabularies=self.vocabularies,
            random_source=RandomSource(7, "train"),
        )

    def tensors(self, objective: Extraction, **options: Any) -> dict[str, Tensor]:
        return dict(step_batch([self.batch(objective, **options)], objective).micro_batches[0])

    def model(self, objective: Extraction) -> PlainModel:
        """A model with random weights, biases and norms too."""
        size = self.vocabularies.source.size
        model = PlainModel(build_plan(BLOCK, objective, vocabulary_size=size)).eval()
        generator = torch.Generator().manual_seed(0)
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.3, generator=generator)
        return model

    def scores(self, objective: Extraction, logits: Tensor, tensors: dict[str, Tensor]) -> Any:
        """The scores of the whole set from the logits of all its rows."""
        examples = self.index(objective)
        found = objective.predictions({"span_logits": logits}, tensors)
        real = found[EXAMPLE_NUMBERS] > 0
        figures = figures_of(
            {name: tensor[real].detach().numpy() for name, tensor in found.items()},
            objective,
            expected=objective.predictions_expected(examples),
            compute=lambda every: objective.compute_set_scores(every, examples, self.store),
        )
        return dict(figures.scores)


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    return Rows(tmp_path, paragraphs(12, seed=5))


def transformers_model(model: PlainModel, objective: Extraction) -> Any:
    """BertForQuestionAnswering with the weights of `model`."""
    weights = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    bert = BertForQuestionAnswering(
        BertConfig(
            vocab_size=len(weights["word_embedding.weight"]),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=LENGTH,
        )
    ).eval()
    family = FamilyWithHead(Bert(), QuestionAnswering())
    bert.load_state_dict(family.to_huggingface(weights, BLOCK, objective), strict=True)
    return bert


def windows_of(tensors: dict[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    """The row and the columns of each window, in the order of the ragged tensors."""
    columns = tensors["input_ids"].shape[1]
    real = (tensors[EXAMPLE_NUMBERS] > 0).nonzero().flatten()
    return [
        (first // columns, first % columns + torch.arange(int(length)))
        for first, length in zip(
            tensors["window_cells"][real], tensors["window_lengths"][real], strict=True
        )
    ]


@pytest.mark.parametrize("packing", [True, False])
def test_logits_loss_and_gradients_equal_those_of_transformers(rows: Rows, packing: bool) -> None:
    objective = objective_of()
    model = rows.model(objective)
    tensors = rows.tensors(objective, packing=packing)
    count = rows.batch(objective, packing=packing).counts["windows"]
    outputs = model(tensors)
    sums = objective.metric_sums(outputs, tensors)
    (sums["extraction_loss"] / count).backward()

    bert = transformers_model(model, objective)
    windows = windows_of(tensors)
    assert len(windows) == count
    shared = len(windows) > len(tensors["input_ids"])
    assert shared == packing
    losses, hits = [], 0
    for number, (row, columns) in enumerate(windows):
        start, end = (tensors[name][number] for name in ("start_positions", "end_positions"))
        # One window alone, without padding: its softmax is over its own cells.
        found = bert(
            input_ids=tensors["input_ids"][row, columns][None],
            token_type_ids=tensors["segment_ids"][row, columns][None] - 1,
            start_positions=start[None],
            end_positions=end[None],
        )
        ours = outputs["span_logits"][row, columns]
        torch.testing.assert_close(ours[:, 0], found.start_logits[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(ours[:, 1], found.end_logits[0], atol=1e-5, rtol=1e-5)
        losses.append(found.loss)
        best = (found.start_logits.argmax(), found.end_logits.argmax())
        hits += best == (start, end)
    loss = torch.stack(losses).mean()
    torch.testing.assert_close(sums["extraction_loss"] / count, loss, atol=1e-5, rtol=1e-5)
    assert float(sums["span_accuracy"]) == hits
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    family = FamilyWithHead(Bert(), QuestionAnswering())
    theirs = family.to_huggingface(
        {name: one for name, one in gradients.items() if one is not None}, BLOCK, objective
    )
    for name, parameter in bert.named_parameters():
        torch.testing.assert_close(
            theirs[name], parameter.grad, atol=1e-5, rtol=1e-4, msg=f"gradient of {name}"
        )


@pytest.mark.parametrize(("stride", "separators"), [(0, 1), (3, 1), (6, 1), (5, 2)])
def test_windows_are_those_of_transformers_tokenizers(
    rows: Rows, stride: int, separators: int
) -> None:
    objective = objective_of(doc_stride=stride, template={"separators": separators})
    fast = PreTrainedTokenizerFast(
        tokenizer_object=rows.tokenizer.config.backend(rows.tokenizer.vocabulary),
        **{f"{role}_token": token for role, token in rows.vocabularies.source.specials.items()},
    )
    fast.backend_tokenizer.post_processor = _pairs(
        rows, BertProcessing if separators == 1 else RobertaProcessing
    )
    length = 20
    tensors = rows.tensors(objective, packing=False, length=length)
    ours = [tensors["input_ids"][row, columns].tolist() for row, columns in windows_of(tensors)]
    theirs = []
    for some in paragraphs(12, seed=5):
        for one in some["qas"]:
            found = fast(
                one["question"],
                some["context"],
                truncation="only_second",
                max_length=length,
                stride=stride,
                return_overflowing_tokens=True,
            )
            theirs += found["input_ids"]
    assert len(ours) > 1.5 * sum(len(some["qas"]) for some in paragraphs(12, seed=5))
    assert ours == theirs
    for number, (row, columns) in enumerate(windows_of(tensors)):
        # The answer is where the tokenizer's offsets say it is, in [CLS] question [SEP] context.
        begin = int(tensors["context_positions"][number])
        before = tensors["segment_ids"][row, columns[:begin]]
        assert (before == 1).all()
        assert (tensors["segment_ids"][row, columns[begin:]] == 2).all()


def _pairs(rows: Rows, kind: Any) -> Any:
    specials = rows.vocabularies.source
    return kind(*((specials.specials[role], specials.special_id(role)) for role in ("sep", "cls")))


def test_best_spans_are_those_of_a_search_through_all_spans() -> None:
    generator = torch.Generator().manual_seed(3)
    rows, columns, longest, count = 2, 12, 4, 7
    logits = torch.randn(rows, columns, 2, generator=generator)
    # Two windows share the first row; the last window is padding.
    cells = WindowCells(
        torch.tensor([0, 7, 12, 0]), torch.tensor([7, 5, 12, 0]), torch.tensor([3, 2, 4, 0])
    )
    dense = window_logits(logits, cells)
    scores, first, last = best_spans(dense, cells, max_answer_length=longest, count=count)
    for window, (row, begin) in enumerate([(0, 0), (0, 7), (1, 0)]):
        context, end = int(cells.contexts[window]), int(cells.lengths[window]) - 1
        spans = sorted(
            (
                (-float(logits[row, begin + s, 0] + logits[row, begin + e, 1]), s, e)
                for s, e in product(range(context, end), repeat=2)
                if 0 <= e - s < longest
            ),
        )[:count]
        found = [
            (-float(score), int(s), int(e))
            for score, s, e in zip(scores[window], first[window], last[window], strict=True)
            if score > -torch.inf
        ]
        assert [one[1:] for one in found] == [one[1:] for one in spans]
        assert [one[0] for one in found] == pytest.approx([one[0] for one in spans])
    assert torch.isinf(scores[3]).all()


def test_scores_are_those_of_the_best_span_of_all_windows(rows: Rows) -> None:
    objective = objective_of()
    tensors = rows.tensors(objective)
    assert (tensors["start_positions"] == 0).any(), "some windows do not have the answer"
    # Logits that name each answer where it is, and something else, less likely, elsewhere.
    logits = torch.zeros(*tensors["input_ids"].shape, 2)
    for number, (row, columns) in enumerate(windows_of(tensors)):
        start, end = (int(tensors[f"{name}_positions"][number]) for name in ("start", "end"))
        strength = 5.0
        if not start:
            start = end = int(tensors["context_positions"][number])
            strength = 1.0
        logits[row, columns[start], 0] = logits[row, columns[end], 1] = strength
    assert rows.scores(objective, logits, tensors) == {"exact_match": 1.0, "f1": 1.0}
    assert rows.scores(objective, -logits, tensors)["exact_match"] < 0.5


def test_a_threshold_decides_between_an_answer_and_none(tmp_path: Path) -> None:
    rows = Rows(tmp_path, paragraphs(6, seed=4, no_answer=True))
    objective = objective_of(no_answer=True)
    tensors = rows.tensors(objective)
    logits = torch.zeros(*tensors["input_ids"].shape, 2)
    has = tensors["start_positions"] > 0
    # Windows after the first one of a context have a larger score of no answer, which is not used.
    offsets = rows.index(objective).offsets[tensors[EXAMPLE_NUMBERS].numpy() - 1]
    assert (offsets > 0).any()
    for number, (row, columns) in enumerate(windows_of(tensors)):
        start, end = (int(tensors[f"{name}_positions"][number]) for name in ("start", "end"))
        # Of answers 12 more than of no answer; of questions without one 8 more.
        at = (start, end) if has[number] else (int(tensors["context_positions"][number]),) * 2
        logits[row, columns[at[0]], 0] = logits[row, columns[at[1]], 1] = 6.0 if has[number] else 4
        logits[row, columns[0]] = 3.0 if offsets[number] else 0.0
    found = rows.scores(objective, logits, tensors)
    assert found["HasAns_exact"] == found["HasAns_f1"] == 1.0
    assert found["NoAns_exact"] == found["NoAns_f1"] == 0.0
    assert found["best_exact"] == found["best_f1"] == 1.0
    assert found["best_f1_thresh"] == found["best_exact_thresh"] == -12.0
    with_it = objective_of(no_answer=True, no_answer_threshold=found["best_f1_thresh"])
    assert rows.scores(with_it, logits, tensors)["exact_match"] == 1.0


def test_questions_without_a_known_answer_are_not_trained_on(tmp_path: Path) -> None:
    some = [
        paragraph(
            "bobby is ann, cat is dog",
            question("a", "who is bobby", ("ann", 9)),
            question("lost", "who is cat", ("we", 3)),
        )
    ]
    evaluated = Rows(tmp_path, some)
    objective = objective_of()
    batch = evaluated.batch(objective)
    assert batch.examples == 2
    assert batch.counts == {"windows": 1}
    assert sorted(batch.tensors["start_positions"].tolist())[0] == -1
    logits = torch.randn(*batch.tensors["input_ids"].shape, 2)
    tensors = evaluated.tensors(objective)
    sums = objective.metric_sums({"span_logits": logits}, tensors)
    known = int((tensors["start_positions"] > 0).nonzero()[0])
    dense = window_logits(logits, window_cells(tensors)).log_softmax(dim=-1)[known]
    expected = -(
        dense[0, tensors["start_positions"][known]] + dense[1, tensors["end_positions"][known]]
    )
    torch.testing.assert_close(sums["extraction_loss"], expected / 2)
    # The gold answer counts in the scores, whether it is in the context or not.
    assert evaluated.scores(objective, logits, tensors)["f1"] <= 0.5

    (tmp_path / "train").mkdir()
    trained = Rows(tmp_path / "train", some, held_out=False).index(objective)
    assert trained.lengths.size == 1
    assert trained.left_out == {"questions without an answer in their context": 1}


def test_long_questions_are_cut_and_answers_that_fit_into_no_window_are_counted(
    tmp_path: Path,
) -> None:
    context = "we " * 10 + "cat"
    some = [paragraph(context, question("a", "who is cat and who is dog", ("we " * 9 + "we", 0)))]
    rows = Rows(tmp_path, some, held_out=False)
    found = rows.index(objective_of(doc_stride=2, max_question_length=4), length=14)
    assert (found.question_lengths == 4).all()
    cut = len(rows.tokenizer.encode(["who is cat and who is dog"])[0]) - 4
    assert found.left_out == {
        "tokens cut off (questions longer than max_question_length: 1)": cut,
        "answers that are whole in no window (see objective.doc_stride)": 1,
    }
    assert not found.spans.any()
