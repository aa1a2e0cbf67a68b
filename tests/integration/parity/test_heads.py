"""Heads of fine-tuning: `AutoModelFor…` loads the exports and has the logits of ptm, and back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from transformers import AutoTokenizer

from ptm.cli import main
from ptm.errors import EXIT_DONE, EXIT_USER, UserError
from ptm.inference.predict.base import PredictionOptions
from ptm.inference.predict.text_files import InputText
from ptm.inference.predict.text_model import TextModel
from ptm.interop.hf.io.export import export_to_huggingface
from ptm.interop.import_model import import_from_huggingface
from ptm.interop.sources.base import ModelSource
from ptm.interop.sources.open import open_source
from ptm.model.plain_model import loaded_model
from ptm.recipe import ModelRecipe, recipe_from_data
from tests.integration.parity.cases import albert, bert, causal, encoder_decoders, modernbert
from tests.integration.parity.cases.models import Family, with_changes
from tests.support.bert_pairs import (
    TOLERANCE,
    difference,
    lay_out_rows,
    plan_of,
    random_weights,
    write_model,
)

LABELS = ["negative", "neutral", "positive"]
TAGS = ["O", "B-PER", "I-PER"]
TEXTS = ("今天天气很好", "a rather long text about the weather", "好")
PAIRS = (("今天天气很好", "明天"), ("one text", "another, longer one"), ("好", "good"))
RELU = {"activation": "relu"}
MODERN = {"activation": "gelu", "norm": True, "dense_bias": False}
LINEAR = {"dense": False, "bias": False}


@dataclass(frozen=True, eq=False)
class Case:
    """A family's usual head: options of the objective."""

    family: Family
    options: Mapping[str, Any] = field(default_factory=dict)
    tagging: Mapping[str, Any] | None = field(default_factory=dict)
    """Options of `tagging`; None if transformers has no such model."""
    attention: str = "sdpa"
    exported_as: str | None = None

    @property
    def model_type(self) -> str:
        """`model_type` of the export."""
        return self.exported_as or self.family.name

    def __str__(self) -> str:
        return self.family.name


LAST = {"pooling": "last", "head": LINEAR}
CASES = (
    Case(bert.BERT),
    Case(bert.ROBERTA),
    Case(bert.XLM_ROBERTA, exported_as="roberta"),
    Case(bert.ERNIE),
    Case(bert.DISTILBERT, {"head": RELU}),
    Case(albert.ALBERT),
    Case(modernbert.MODERNBERT, {"head": MODERN}, {"head": {"dense": True, **MODERN}}),
    Case(causal.GPT2, LAST),
    Case(causal.OPENAI_GPT, LAST, None, "eager", "openai-gpt"),
    Case(causal.LLAMA, LAST),
    Case(encoder_decoders.BART, {"pooling": "last", "decoder_start": "eos"}, None),
    Case(encoder_decoders.T5, {"pooling": "last", "decoder_start": "pad"}, None),
)
CLASSIFICATION = {"type": "classification", "labels": LABELS}
TAGGING = {"type": "tagging", "labels": TAGS}
DECODERS = ("gpt2", "openai_gpt", "llama", "bart", "t5")
CHOICES = tuple(case for case in CASES if str(case) not in ("modernbert", *DECODERS))
EXTRACTION = {"type": "extraction", "doc_stride": 4, "max_question_length": 8}


def parameters(cases: Iterable[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", [pytest.param(case, id=str(case)) for case in cases])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("heads")


def source_of(
    case: Case, objective: Mapping[str, Any], folder: Path, vocab: Path, **changes: Any
) -> ModelSource:
    """A model with random weights."""
    folder.mkdir(parents=True)
    blocks = case.family.recipe(case.family.vocabulary(vocab, folder))
    blocks = with_changes({**blocks, "objective": dict(objective)}, changes)
    recipe = recipe_from_data(blocks, ModelRecipe, name="model")
    return write_model(folder / "model", blocks, random_weights(plan_of(recipe)))


def exported(source: ModelSource, out: Path, case: Case, auto_class: str) -> Any:
    """The export, loaded by transformers without missing or unexpected tensors."""
    export_to_huggingface(source, out, weights_format="safetensors")
    theirs, info = getattr(transformers, auto_class).from_pretrained(
        out, attn_implementation=case.attention, output_loading_info=True
    )
    assert {key: list(value) for key, value in info.items() if value} == {}
    return theirs.eval()


def our_logits(source: ModelSource, texts: Any) -> Tensor:
    """The logits (E, C) of `ptm predict`."""
    objective: Any = source.recipe().objective
    model = TextModel(
        source, objective, PredictionOptions(sequence_length=64), output=objective.head_output
    )
    inputs = [InputText("here", one if isinstance(one, tuple) else (one,)) for one in texts]
    found: dict[int, Tensor] = {}
    for batch in model.outputs(inputs):
        found |= dict(zip(batch.indices.tolist(), batch.values, strict=True))
    return torch.stack([found[index] for index in range(len(texts))])


def their_logits(model: Any, folder: Path, texts: Any) -> Tensor:
    """The logits of transformers with the exported tokenizer, padded."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    columns = [[text] for text in texts] if isinstance(texts[0], str) else texts
    parts = [list(column) for column in zip(*columns, strict=True)]
    with torch.no_grad():
        logits: Tensor = model(**tokenizer(*parts, padding=True, return_tensors="pt")).logits
    return logits


@parameters(CASES)
def test_a_classifier_has_the_logits_of_transformers(
    case: Case, folder: Path, small_vocab: Path
) -> None:
    here = folder / f"{case}-classification"
    source = source_of(case, {**CLASSIFICATION, **case.options}, here, small_vocab)
    theirs = exported(source, here / "out", case, "AutoModelForSequenceClassification")
    assert theirs.config.id2label == dict(enumerate(LABELS))
    assert theirs.config.model_type == case.model_type
    assert theirs.config.problem_type == "single_label_classification"
    for texts in (TEXTS, PAIRS):
        ours = our_logits(source, texts)
        assert difference(ours, their_logits(theirs, here / "out", texts)) <= TOLERANCE
    assert ours.std() > 0.1
    # Without recipe.yaml it is a folder of transformers like any other.
    (here / "out" / "recipe.yaml").unlink()
    report = import_from_huggingface(str(here / "out"), here / "back")
    assert report.left_out == ()
    back = open_source(str(here / "back"))
    assert back.recipe().objective == source.recipe().objective
    weights = source.tensors()
    found = back.tensors()
    assert found.keys() >= weights.keys()
    for name in weights:
        # transformers has no segment of padding.
        rows = slice(1, None) if name == "embedding.segment.weight" else slice(None)
        assert torch.equal(found[name][rows], weights[name][rows]), name


@pytest.mark.parametrize(
    ("objective", "problem", "outputs"),
    [
        ({"type": "multi_label_classification", "labels": LABELS}, "multi_label", 3),
        ({"type": "regression"}, "regression", 1),
    ],
    ids=["several labels", "numbers"],
)
def test_other_problems_have_the_logits_of_transformers(
    folder: Path, small_vocab: Path, objective: Mapping[str, Any], problem: str, outputs: int
) -> None:
    here = folder / problem
    source = source_of(CASES[0], objective, here, small_vocab)
    theirs = exported(source, here / "out", CASES[0], "AutoModelForSequenceClassification")
    assert theirs.config.problem_type.startswith(problem)
    assert theirs.num_labels == outputs
    for texts in (TEXTS, PAIRS):
        ours = our_logits(source, texts)
        assert difference(ours, their_logits(theirs, here / "out", texts)) <= TOLERANCE
    (here / "out" / "recipe.yaml").unlink()
    import_from_huggingface(str(here / "out"), here / "back")
    assert open_source(str(here / "back")).recipe().objective == source.recipe().objective


@parameters([case for case in CASES if case.tagging is not None])
def test_a_tagger_has_the_logits_of_transformers(
    case: Case, folder: Path, small_vocab: Path
) -> None:
    here = folder / f"{case}-tagging"
    source = source_of(case, {**TAGGING, **(case.tagging or {})}, here, small_vocab)
    theirs = exported(source, here / "out", case, "AutoModelForTokenClassification")
    assert theirs.config.id2label == dict(enumerate(TAGS))
    recipe = source.recipe()
    ours = loaded_model(plan_of(recipe), source.tensors(), source="x")
    tokenizer = AutoTokenizer.from_pretrained(here / "out")
    rows = [torch.tensor(tokenizer(text)["input_ids"]) for text in TEXTS]
    for ids in rows:
        batch = lay_out_rows([[ids]]).tensors
        with torch.no_grad():
            found = ours(batch)["tag_logits"][0]
            assert difference(found, theirs(ids[None]).logits[0]) <= TOLERANCE
    (here / "out" / "recipe.yaml").unlink()
    import_from_huggingface(str(here / "out"), here / "back")
    assert open_source(str(here / "back")).recipe().objective == recipe.objective


@pytest.mark.parametrize(
    ("objective", "reason"),
    [
        (
            {**CLASSIFICATION, "pooling": "mean"},
            "such a body (albert: objective.pooling = mean, not first; bert: objective.pooling",
        ),
        (
            {**CLASSIFICATION, "head": {"activation": "gelu"}},
            "bert: objective.head.activation = gelu, not tanh",
        ),
        ({**CLASSIFICATION, "head": {"bias": False}}, "objective.head.bias = false, not true"),
        ({**TAGGING, "head": {"dense": True}}, "objective.head.dense = true, not false"),
        ({**TAGGING, "crf": True}, "export it with --without-crf"),
    ],
)
def test_a_head_that_transformers_does_not_have_is_named(
    tmp_path: Path,
    small_vocab: Path,
    objective: Mapping[str, Any],
    reason: str,
) -> None:
    source = source_of(CASES[0], objective, tmp_path / "model", small_vocab)
    with pytest.raises(UserError, match=re.escape(reason)):
        export_to_huggingface(source, tmp_path / "out", weights_format="safetensors")
    assert not (tmp_path / "out").exists()


def test_parts_that_transformers_lacks_are_left_out_with_a_note(
    tmp_path: Path, small_vocab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    masked = {**CLASSIFICATION, "mlm": {"masking": {"unit": "token"}}}
    for objective, options, note in (
        (masked, [], "the head of masked tokens is left out"),
        ({**TAGGING, "crf": True}, ["--without-crf"], "the transitions of the conditional random"),
    ):
        kind = str(objective["type"])
        source = source_of(CASES[0], objective, tmp_path / kind, small_vocab)
        words = ["export", str(source.folder), str(tmp_path / kind / "out"), "--to", "hf"]
        assert main([*words, *options]) == EXIT_DONE
        assert note in capsys.readouterr().out
        # The written recipe is that of the exported model.
        exported_model = open_source(str(tmp_path / kind / "out"))
        assert exported_model.has_head(exported_model.tensors())
        again = ["export", str(exported_model.folder), str(tmp_path / kind / "again")]
        assert main([*again, "--to", "hf"]) == EXIT_DONE
    assert main([*words[:2], str(tmp_path / "x"), "--to", "uer", "--without-crf"]) == EXIT_USER
    source = source_of(CASES[0], CLASSIFICATION, tmp_path / "plain", small_vocab)
    words = ["export", str(source.folder), str(tmp_path / "x"), "--to", "hf", "--without-crf"]
    assert main(words) == EXIT_USER
    assert "--without-crf is for models with objective.crf = true" in capsys.readouterr().err


@parameters([case for case in CASES if str(case) not in DECODERS])
def test_a_model_of_question_answering_has_the_logits_of_transformers(
    case: Case, folder: Path, small_vocab: Path
) -> None:
    here = folder / f"{case}-extraction"
    source = source_of(case, {**EXTRACTION, **(case.tagging or {})}, here, small_vocab)
    theirs = exported(source, here / "out", case, "AutoModelForQuestionAnswering")
    recipe = source.recipe()
    ours = loaded_model(plan_of(recipe), source.tensors(), source="x")
    tokenizer = AutoTokenizer.from_pretrained(here / "out")
    for question, context in PAIRS:
        encoded = tokenizer(question, context, return_tensors="pt")
        ids = encoded["input_ids"][0]
        second = torch.tensor([number == 1 for number in encoded.sequence_ids(0)])
        # The [SEP] after the context belongs to it.
        first = int(second.nonzero()[0])
        batch = lay_out_rows([[ids]]).tensors
        batch["segment_ids"][:, first : ids.numel()] = 2
        with torch.no_grad():
            found = ours(batch)["span_logits"][0, : ids.numel()]
            expected = theirs(**encoded)
        logits = torch.stack([expected.start_logits[0], expected.end_logits[0]], dim=1)
        assert difference(found, logits) <= TOLERANCE
    (here / "out" / "recipe.yaml").unlink()
    report = import_from_huggingface(str(here / "out"), here / "back")
    assert report.left_out == ()
    back = open_source(str(here / "back"))
    # The lengths of questions and windows are not options of the model.
    assert back.recipe().objective.head_options == recipe.objective.head_options
    assert torch.equal(back.tensors()["qa_outputs.weight"], source.tensors()["qa_outputs.weight"])


@parameters(CHOICES)
def test_a_model_of_multiple_choice_has_the_logits_of_transformers(
    case: Case, folder: Path, small_vocab: Path
) -> None:
    here = folder / f"{case}-choice"
    source = source_of(case, {"type": "choice", **case.options}, here, small_vocab)
    theirs = exported(source, here / "out", case, "AutoModelForMultipleChoice")
    recipe = source.recipe()
    ours = loaded_model(plan_of(recipe), source.tensors(), source="x")
    tokenizer = AutoTokenizer.from_pretrained(here / "out")
    for pair in PAIRS:
        encoded = tokenizer(*pair, return_tensors="pt")
        ids = encoded["input_ids"][0]
        second = torch.tensor([number == 1 for number in encoded.sequence_ids(0)])
        batch = lay_out_rows([[ids]]).tensors
        batch["segment_ids"][:, int(second.nonzero()[0]) : ids.numel()] = 2
        batch["class_positions"] = torch.zeros(1, dtype=torch.long)
        with torch.no_grad():
            found = ours(batch)["choice_logits"][0, 0]
            # One question with one choice.
            expected = theirs(**{name: tensor[None] for name, tensor in encoded.items()}).logits
        torch.testing.assert_close(found, expected[0, 0], rtol=0, atol=1e-5)
    (here / "out" / "recipe.yaml").unlink()
    report = import_from_huggingface(str(here / "out"), here / "back")
    assert report.left_out == ()
    back = open_source(str(here / "back"))
    assert back.recipe().objective == recipe.objective
    assert torch.equal(back.tensors()["classifier.weight"], source.tensors()["classifier.weight"])
