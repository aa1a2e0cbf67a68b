"""Keys of earlier formats: errors in a user's recipe, converted in files that ptm wrote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ptm.errors import UserError
from ptm.recipe import Recipe, recipe_yaml
from ptm.recipe.former_keys import FORMAT, RENAMED_KEYS, RENAMED_VALUES, convert
from ptm.recipe.keys import keys_of, recipe_keys
from ptm.recipe.saved_files import read_recipe_data

ErrorOf = Callable[..., str]
Load = Callable[..., Recipe]

T5 = (
    "model.decoder={type: transformer, layers: 1, hidden_size: 16, heads: 2, feed_forward_size: "
    "32}",
)


@pytest.mark.parametrize("former", sorted(set(RENAMED_KEYS) - {"objective.start"}))
def test_a_former_key_in_a_recipe_is_an_error_that_names_the_new_one(
    error_of: ErrorOf, former: str
) -> None:
    block = former.rpartition(".")[0]
    new = f"{block}.{RENAMED_KEYS[former]}"
    needed = {
        "objective.masking.per": ["objective.masking={unit: whole_word}"],
        "model.target_embedding.of": ["model.target_embedding={}"],
        "train.early_stopping.minimum_change": ["train.early_stopping={}"],
    }
    sentence = error_of(*needed.get(former, []), f"{former}=1")
    assert f'{former}: unknown key. It is called "{new}" now.' in sentence


def test_the_former_key_of_another_objective_is_named(error_of: ErrorOf) -> None:
    sentence = error_of("objective={type: lm, start: false}", "model.encoder.visibility=causal")
    assert 'objective.start: unknown key. It is called "objective.add_bos" now.' in sentence


def test_a_former_value_in_a_recipe_is_an_error_that_names_the_new_one(error_of: ErrorOf) -> None:
    sentence = error_of("objective={type: t5, noise: {spans: paper}}", *T5)
    assert 'objective.noise.spans: "paper" is not supported. It is called "t5" now.' in sentence


def test_every_new_key_exists_and_no_former_one_does() -> None:
    known = {key.dotted for key in keys_of(Recipe)}
    for former, new in RENAMED_KEYS.items():
        assert f"{former.rpartition('.')[0]}.{new}" in known
        assert former not in known
    assert set(RENAMED_VALUES) <= recipe_keys().keys()


def test_data_of_format_1_have_the_keys_of_today_after_conversion() -> None:
    data: dict[str, Any] = {
        "model": {"embedding": {"of": ["word"]}, "target_embedding": {"of": ["word"]}},
        "objective": {"full_sentences": True, "masking": {"per": "word", "unit": "ngram"}},
        "train": {"anomalies": {"text": True}, "early_stopping": {"minimum_change": 0.1}},
        "checkpoint": {"write_behind": False},
        "tracking": {"report_every": 5},
    }
    assert convert(data, format_number=1) == {
        "model": {"embedding": {"parts": ["word"]}, "target_embedding": {"parts": ["word"]}},
        "objective": {"concatenate": True, "masking": {"replace_per": "word", "unit": "ngram"}},
        "train": {"anomalies": {"record_text": True}, "early_stopping": {"min_delta": 0.1}},
        "checkpoint": {"async_save": False},
        "tracking": {"log_every": 5},
    }
    noise = {"objective": {"noise": {"spans": "paper"}, "start": True}}
    assert convert(noise, format_number=1) == {
        "objective": {"noise": {"spans": "t5"}, "add_bos": True}
    }
    assert data["tracking"] == {"report_every": 5}


def test_a_resolved_recipe_carries_its_format_and_is_read_as_a_recipe(load: Load) -> None:
    recipe = load()
    text = recipe_yaml(recipe)
    assert yaml.safe_load(text)["format"] == FORMAT
    assert load(text=text) == recipe


def test_a_resolved_recipe_of_format_1_is_converted(load: Load) -> None:
    text = recipe_yaml(load("tracking.log_every=3"))
    former = text.replace(f"format: {FORMAT}", "format: 1").replace("log_every", "report_every")
    assert load(text=former).tracking.log_every == 3


@pytest.mark.parametrize("number", [str(FORMAT + 1), "two", "true", "0"])
def test_an_unknown_format_is_an_error(load: Load, error_of: ErrorOf, number: str) -> None:
    text = recipe_yaml(load()).replace(f"format: {FORMAT}", f"format: {number}")
    assert "but this version of ptm reads recipes of the formats 1 to 2" in error_of(text=text)


def test_a_file_that_ptm_wrote_without_a_format_is_of_format_1(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("tracking: {report_every: 5}\n")
    assert read_recipe_data(path) == {"tracking": {"log_every": 5}}
    path.write_text("format: 99\ntracking: {log_every: 5}\n")
    with pytest.raises(UserError, match=r"recipe\.yaml: format = 99, but this version"):
        read_recipe_data(path)
