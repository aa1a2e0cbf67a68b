"""Options of `ptm predict` that a model does not use are errors, and messages name real options."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ptm.cli.commands.predict import add_arguments
from ptm.errors import UserError
from ptm.inference.predict.base import InputFiles, PredictionOptions, predictor_of
from ptm.inference.predict.record_files import record_inputs
from ptm.interop.sources.base import ModelSource
from ptm.text.corpus import Layout
from ptm.text.corpus.records import FIELD_OPTIONS


def source_of(objective: str) -> ModelSource:
    found = SimpleNamespace(type=objective)
    found.without_teachers = found
    recipe = SimpleNamespace(objective=found)
    return cast(ModelSource, SimpleNamespace(folder=Path("run"), recipe=lambda: recipe))


UNUSED: dict[str, list[dict[str, Any]]] = {
    "choice": [{"n_best": 3}, {"no_answer_threshold": 0.0}, {"words": "spaces"}],
    "extraction": [{"probabilities": True}, {"threshold": 0.3}],
    "embedding": [{"probabilities": True}, {"n_best": 20}],
    "regression": [{"probabilities": True}, {"no_answer_threshold": 1.0}],
    "classification": [{"threshold": 0.3}, {"n_best": 5}],
    "multi_label_classification": [{"no_answer_threshold": 1.0}],
    "tagging": [{"probabilities": True}, {"n_best": 5}],
}


@pytest.mark.parametrize(
    ("objective", "options"), [(name, one) for name, some in UNUSED.items() for one in some]
)
def test_an_option_without_effect_is_an_error(objective: str, options: dict[str, Any]) -> None:
    option = next(iter(options)).replace("_", "-")
    message = rf"^--{option}: has no effect on a model trained with objective {objective}, only "
    with pytest.raises(UserError, match=message):
        predictor_of(source_of(objective), PredictionOptions(**options))


@pytest.mark.parametrize(
    ("objective", "role"),
    [
        *(("choice", role) for role in ("text", "text_b")),
        *(("extraction", role) for role in ("text", "text_b", "label")),
        ("tagging", "text_b"),
    ],
)
def test_a_field_without_effect_is_an_error(objective: str, role: str) -> None:
    option = f"--{role.replace('_', '-')}-field"
    with pytest.raises(UserError, match=f"^{option}: has no effect on .* {objective}, only with "):
        predictor_of(source_of(objective), PredictionOptions(), fields=[role])


@pytest.mark.parametrize("number", [1, 20])
def test_a_number_of_answers_is_that_of_the_option(number: int) -> None:
    assert PredictionOptions(n_best=number).answers == number
    assert PredictionOptions().answers == 20


@pytest.mark.parametrize(
    ("layout", "role", "record"),
    [
        ("questions", "question", '{"id": "1", "context": "a", "query": "b"}'),
        ("questions", "id", '{"number": "1", "context": "a", "question": "b"}'),
        ("tagged", "tokens", '{"letters": ["a"]}'),
    ],
)
def test_the_advice_for_a_field_names_no_option_that_does_not_exist(
    layout: Layout, role: str, record: str, tmp_path: Path
) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(f"{record}\n")
    files = InputFiles((str(file),), format="json_lines")
    windows: Iterator[Any] = record_inputs(files, None, layout, lambda _: (), window=9)
    with pytest.raises(UserError) as caught:
        next(windows)
    message = str(caught.value)
    if role in FIELD_OPTIONS:
        assert f"Set {FIELD_OPTIONS[role]} to the field that has it" in message
    else:
        assert f"Rename the field that has it to {role}: this command has no option" in message
        assert f"-{role}-field" not in message


def test_the_options_of_fields_exist_and_are_absent_by_default() -> None:
    parser = ArgumentParser()
    add_arguments(parser)
    text = parser.format_help()
    assert all(f"{option} NAME" in text for option in FIELD_OPTIONS.values())
    parsed = parser.parse_args(["run", "a.txt"])
    assert parsed.n_best is None
