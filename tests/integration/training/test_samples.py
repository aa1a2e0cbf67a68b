"""Sample predictions of trainings: what they show, and that the training does not notice them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ptm.errors import EXIT_DONE, EXIT_STOPPED
from ptm.inference.generate import GenerationConfig, Generator
from ptm.inference.predict.base import InputFiles, PredictionOptions, predictor_of
from ptm.interop.sources.open import open_source
from ptm.loading.splits import open_evaluation_rows
from ptm.model.build import build_plan
from ptm.model.plain_model import loaded_model
from ptm.recipe import load_recipe
from ptm.train.samples.base import typical_examples
from ptm.train.samples.record import Sample, SampleRecord, read_samples
from tests.support import (
    choice_texts,
    labelled_texts,
    question_texts,
    tagged_texts,
    text_groups,
)
from tests.support.covers import by_default
from tests.support.faults import Killed
from tests.support.small_runs import Runs

DROPOUT = "model.dropout=0.1"
SAMPLED = "tracking.samples=4"
SHORT = ("train.steps=2", "tracking.evaluate_every=2", "tracking.samples=6")
CAUSAL = ("model.encoder.visibility=causal", "objective={type: lm}")


def samples_of(runs: Runs, name: str) -> list[SampleRecord]:
    return read_samples(runs.folder / name)


def last_samples(runs: Runs, name: str, *overrides: str) -> tuple[Sample, ...]:
    assert runs.train(name, SAMPLED, *overrides) == EXIT_DONE
    return samples_of(runs, name)[-1].samples


@pytest.mark.parametrize("objective", [by_default("mlm", ()), "lm"])
def test_a_training_is_the_same_without_samples(runs: Runs, objective: str) -> None:
    causal = CAUSAL if objective == "lm" else ()
    often = (DROPOUT, *causal, "tracking.evaluate_every=2", "tracking.log_every=1", "train.steps=6")
    assert runs.train("without", *often, "tracking.samples=0") == EXIT_DONE
    assert runs.train("with", *often, "tracking.samples=5") == EXIT_DONE
    assert runs.metrics("with") == runs.metrics("without")
    assert samples_of(runs, "without") == []
    found = samples_of(runs, "with")
    assert [one.step for one in found] == [2, 4, 6]
    assert {one.evaluation for one in found} == {"eval"}
    # The same rows at every step.
    assert len({tuple((s.text, s.expected) for s in one.samples) for one in found}) == 1
    assert [len(one.samples) for one in found] == [5] * 3


def test_a_resumed_run_has_the_samples_of_an_undisturbed_one(runs: Runs) -> None:
    assert runs.train("calm", DROPOUT, SAMPLED) == EXIT_DONE
    assert runs.train("stopped", DROPOUT, SAMPLED, stop_at=7) == EXIT_STOPPED
    assert runs.train("stopped", DROPOUT, SAMPLED) == EXIT_DONE
    with pytest.raises(Killed):
        # The evaluation of step 6 comes after the newest checkpoint, so it is repeated.
        runs.train("killed", DROPOUT, SAMPLED, die_at=7)
    assert [one.step for one in samples_of(runs, "killed")] == [6]
    assert runs.train("killed", DROPOUT, SAMPLED) == EXIT_DONE
    assert [one.step for one in samples_of(runs, "calm")] == [6, 12]
    assert samples_of(runs, "stopped") == samples_of(runs, "calm")
    assert samples_of(runs, "killed") == samples_of(runs, "calm")


def test_gaps_are_filled_with_what_the_saved_model_predicts(runs: Runs) -> None:
    found = last_samples(runs, "masked", "optimizer.learning_rate=1e-2")
    path, *overrides = runs.arguments("masked")
    recipe = load_recipe(path, overrides)
    tokenizer = recipe.tokenizer.load()
    (rows,) = open_evaluation_rows(recipe, tokenizer).values()
    source = open_source(str(runs.folder / "masked"))
    plan = build_plan(recipe.model, recipe.objective, vocabulary_size=rows.vocabularies.source.size)
    model = loaded_model(plan, source.tensors(), source="")
    import torch

    for example, sample in zip(typical_examples(rows.lengths, 4), found, strict=True):
        part = rows.collate(rows.placed_alone(np.array([example])))
        tensors = {name: torch.from_numpy(array) for name, array in part.tensors.items()}
        with torch.no_grad():
            best = model(tensors)["logits"].argmax(dim=-1).tolist()
        assert sample.predicted == tuple(tokenizer.vocabulary.tokens[one] for one in best)
        true = [tokenizer.vocabulary.tokens[one] for one in part.tensors["predicted_ids"]]
        assert sample.expected == tuple(true)
        # With its gaps filled, a sample is the text.
        text = sample.text
        for number, token in enumerate(true, start=1):
            text = text.replace(f"⟨{number}⟩", token)
        ids = rows.texts(rows.placed_alone(np.array([example]))).tokens.tolist()
        assert text.replace(" ", "") == tokenizer.decode(ids).replace(" ", "")


@pytest.mark.parametrize("engine", [by_default("zero0", ()), "zero3"])
def test_a_causal_model_continues_prompts_as_ptm_generate_does(runs: Runs, engine: str) -> None:
    options = (f"engine.deepspeed={engine}", "train.steps=4", "optimizer.learning_rate=1e-2")
    found = last_samples(runs, "lm", *CAUSAL, *options)
    generator = Generator(open_source(str(runs.folder / "lm")))
    prompts = [one.text for one in found]
    expected = generator.generate(prompts, GenerationConfig(max_new_tokens=32))
    written = [f"{prompt}{text}" for prompt, text in zip(prompts, expected, strict=True)]
    assert [(one.text + one.predicted[0]).replace(" ", "") for one in found] == [
        text.replace(" ", "") for text in written
    ]
    assert any(one.predicted[0] for one in found)
    assert all(one.expected[0] for one in found)


def _pairs(folder: Path) -> tuple[str, ...]:
    text_groups.write_corpora(folder, "pairs")
    return text_groups.embedding(folder, "pairs")[1:]


@pytest.mark.parametrize("packing", ["true", by_default("false", ())])
def test_an_encoder_decoder_writes_targets_as_ptm_generate_does(
    runs: Runs, tmp_path: Path, packing: str
) -> None:
    decoder = (
        "model.decoder={type: transformer, layers: 1, hidden_size: 32, heads: 2, "
        "feed_forward_size: 64}"
    )
    overrides = (*_pairs(tmp_path), decoder, "objective={type: seq2seq}", f"data.packing={packing}")
    found = last_samples(
        runs,
        "pairs",
        *(*overrides, "data.target_sequence_length=24"),
        *("optimizer.learning_rate=1e-2", "train.steps=4"),
    )
    generator = Generator(open_source(str(runs.folder / "pairs")))
    prompts = [one.text for one in found]
    # A row of 24 tokens has room for 24 new ones after the start token.
    expected = generator.generate(prompts, GenerationConfig(max_new_tokens=24))
    assert [one.predicted[0] for one in found] == expected
    targets = (tmp_path / "pairs" / "dev.tsv").read_text(encoding="utf-8")
    for one in found:
        assert f"{one.text}\t{one.expected[0]}\n" in targets


def _labelled(folder: Path) -> tuple[str, ...]:
    labelled_texts.write_corpora(folder)
    labelled_texts.write_stores(folder)
    return labelled_texts.classifying(folder)


def _tagged(folder: Path) -> tuple[str, ...]:
    tagged_texts.write_stores(folder)
    return tagged_texts.tagging(folder)


def _choices(folder: Path) -> tuple[str, ...]:
    choice_texts.write_stores(folder)
    return choice_texts.choosing(folder)


def _questions(folder: Path) -> tuple[str, ...]:
    question_texts.write_stores(folder)
    return question_texts.extracting(folder)


def _scored(folder: Path) -> tuple[str, ...]:
    text_groups.write_corpora(folder, "scored")
    return text_groups.embedding(folder, "scored")


def _triplets(folder: Path) -> tuple[str, ...]:
    text_groups.write_corpora(folder, "triplets")
    return text_groups.embedding(folder, "triplets")


def _classes(folder: Path) -> tuple[str, ...]:
    text_groups.write_corpora(folder, "classes")
    return text_groups.embedding(folder, "classes")


def test_a_classifier_shows_labels_and_what_ptm_predict_answers(runs: Runs, tmp_path: Path) -> None:
    found = last_samples(runs, "run", *_labelled(tmp_path), *SHORT)
    predictor = predictor_of(open_source(str(runs.folder / "run")), PredictionOptions())
    (window,) = predictor.windows(InputFiles((str(tmp_path / "dev.tsv"),)))
    answers = {
        one.texts[0].lower().replace(" ", ""): answer.values
        for one, answer in zip(window.inputs, predictor.predict(window.inputs), strict=True)
    }
    assert len(found) == 6
    for sample in found:
        answer = answers[sample.text.replace(" ", "")]
        assert (sample.expected, sample.predicted) == ((answer["label"],), (answer["prediction"],))


@pytest.mark.parametrize(
    "make",
    [
        *(_tagged, _choices, _questions, _triplets),
        *(by_default(make, ()) for make in (_scored, _classes)),
    ],
)
def test_other_objectives_show_texts_truths_and_answers(
    runs: Runs, tmp_path: Path, make: Callable[[Path], tuple[str, ...]]
) -> None:
    found = last_samples(runs, "run", *make(tmp_path), *SHORT)
    assert len(found) == 6
    for sample in found:
        ((expected,), (predicted,)) = sample.expected, sample.predicted
        assert predicted
        if make is _tagged and expected != "no entity":
            words = [pair.split()[0] for pair in expected.split(", ")]
            assert all(word in sample.text for word in words)
            assert {pair.split()[1] for pair in expected.split(", ")} <= {
                *("B-PER", "I-PER", "B-LOC", "I-LOC")
            }
        elif make is _choices:
            assert f"\n{expected} " in sample.text
            assert f"\n{predicted} " in sample.text
        elif make is _questions:
            # The answer is what follows "NAME is" in the context.
            assert expected in ("no answer", "unknown") or f"is {expected}" in sample.text
            assert predicted in sample.text
        elif make is _scored:
            assert 0 <= float(expected.removeprefix("score ")) <= 5
            assert -1 <= float(predicted.removeprefix("cosine ")) <= 1
        elif make is _triplets:
            assert len(predicted.split()) == 4
        elif make is _classes:
            assert {expected, predicted} <= {"other", "same"}
