from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ptm.errors import UserError
from ptm.recipe import Recipe, load_recipe, recipe_from_data, recipe_yaml
from ptm.recipe.saved_files import read_recipe_data

Load = Callable[..., Recipe]
Changed = Callable[[str, str], str]
ErrorOf = Callable[..., str]


# Valid recipes


def test_a_recipe_is_read_with_its_values_and_defaults(load: Load) -> None:
    recipe = load()
    assert recipe.model.encoder.hidden_size == 16
    assert recipe.train.micro_batch_size == 8
    assert recipe.train.gradient_clipping == 1.0
    assert recipe.engine.deepspeed == "zero1"


def test_every_recipe_of_the_project_is_valid(project: Path) -> None:
    paths = sorted((project / "recipes").rglob("*.yaml"))
    assert paths
    for path in paths:
        load_recipe(str(path))


def test_a_resolved_recipe_loads_as_the_same_recipe(load: Load) -> None:
    recipe = load()
    assert load(text=recipe_yaml(recipe)) == recipe


def test_a_recipe_from_the_data_of_a_saved_file_is_the_saved_recipe(
    load: Load, tmp_path: Path
) -> None:
    path = tmp_path / "saved.yaml"
    path.write_text(recipe_yaml(load()), encoding="utf-8")
    data = read_recipe_data(path)
    assert recipe_from_data(data, Recipe, name="data", overrides=["seed=8"]) == load("seed=8")


def test_a_recipe_is_frozen(load: Load) -> None:
    recipe = load()
    with pytest.raises(ValueError, match="frozen"):
        recipe.train.steps = 5  # type: ignore[misc]


@pytest.mark.parametrize("number", ["1e-4", "1E-4", "1.0e-4", "0.0001", "+1e-4", ".0001"])
def test_a_number_may_have_any_notation(load: Load, changed: Changed, number: str) -> None:
    recipe = load(text=changed("1e-4", number))
    assert recipe.optimizer.learning_rate == pytest.approx(1e-4)


@pytest.mark.parametrize("word", ["no", "on", "y", "off"])
def test_the_booleans_of_yaml_1_1_are_read_as_words(load: Load, word: str) -> None:
    assert load(f"name={word}").name == word


def test_an_anchor_may_have_an_alias(load: Load, changed: Changed) -> None:
    text = changed("steps: 100", "steps: &many 100") + "tracking: {log_every: *many}\n"
    assert load(text=text).tracking.log_every == 100


# Unknown keys


@pytest.mark.parametrize(
    ("old", "new", "line", "path", "hint"),
    [
        ("seed: 7", "sede: 7", 2, "sede", "seed"),
        ("  store:", "  stor:", 7, "data.stor", "store"),
        ("    layers:", "    layerz:", 13, "model.encoder.layerz", "layers"),
        ("    rate:", "    rat:", 21, "objective.masking.rat", "rate"),
    ],
)
def test_an_unknown_key_is_rejected_with_file_line_path_and_the_nearest_key(
    error_of: ErrorOf, changed: Changed, old: str, new: str, line: int, path: str, hint: str
) -> None:
    sentence = error_of(text=changed(old, new))
    assert f'recipe.yaml:{line}: {path}: unknown key. Did you mean "{hint}"?' in sentence


def test_an_unknown_key_that_resembles_no_other_is_rejected_with_all_keys(
    error_of: ErrorOf, changed: Changed
) -> None:
    sentence = error_of(text=changed("seed: 7", "xyzzy: 7"))
    assert (
        "recipe.yaml:2: xyzzy: unknown key. Keys of this block: adapter, checkpoint, data"
        in sentence
    )


# Wrong values


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("steps: 100", "steps: ten", 'recipe.yaml:25: train.steps: "ten":'),
        ("steps: 100", 'steps: "100"', 'recipe.yaml:25: train.steps: "100":'),
        ("steps: 100", "steps: 1.5", "recipe.yaml:25: train.steps: 1.5:"),
        ("steps: 100", "steps: true", "recipe.yaml:25: train.steps: true:"),
        ("steps: 100", "steps: -1", "recipe.yaml:25: train.steps: -1: must be greater than 0"),
        ("seed: 7", "seed: -7", "recipe.yaml:2: seed: -7: must be at least 0"),
        ("rate: 0.15", "rate: 1.5", "recipe.yaml:21: objective.masking.rate: 1.5:"),
        ("rate: 0.15", "rate: .nan", "recipe.yaml:21: objective.masking.rate: nan:"),
        ("learning_rate: 1e-4", "learning_rate: .inf", "recipe.yaml:22: optimizer.learning_rate:"),
        ("name: tiny", "name: ../tiny", 'recipe.yaml:1: name: "../tiny":'),
        ("dropout: 0.1", "dropout: [0.1]", "recipe.yaml:10: model.dropout: [0.1]:"),
        ("  corpus: corpus/*.txt", "  corpus: 3", "recipe.yaml:5: data.corpus: 3:"),
        (
            "layout: documents",
            "layout: document",
            'data.layout: "document" is not supported. Did you mean "documents"?',
        ),
        ("type: mlm", "type: mml", 'objective.type: "mml" is not supported. Did you mean "mlm"?'),
        (
            "type: mlm",
            "type: xyz",
            'recipe.yaml:18: objective.type: "xyz" is not supported. Choose one of: albert, bart, '
            "bert, bilm, choice, classification, distil, embedding, extraction, gsg, lm, mlm, "
            "multi_label_classification, prefixlm, regression, seq2seq, t5, tagging.",
        ),
        ("unit: token", "unit: tokem", 'unit: "tokem" is not supported. Did you mean "token"?'),
        (
            "    unit: token\n",
            "",
            "recipe.yaml:19: objective.masking: the key `unit` is required and missing.",
        ),
        ("heads: 2", "heads: 3", "hidden_size = 16 is not a multiple of heads = 3"),
        ("  sequence_length: 128\n", "", "data.sequence_length: is required and missing."),
    ],
)
def test_a_wrong_value_is_rejected_with_its_place(
    error_of: ErrorOf, changed: Changed, old: str, new: str, expected: str
) -> None:
    assert expected in error_of(text=changed(old, new))


def test_all_errors_are_reported_at_once(error_of: ErrorOf, changed: Changed) -> None:
    text = changed("steps: 100", "steps: -1").replace("seed: 7", "seed: x")
    lines = error_of(text=text).splitlines()
    assert [line.split(": ")[1] for line in lines] == ["seed", "train.steps"]


def test_the_same_error_is_reported_once(error_of: ErrorOf, changed: Changed) -> None:
    lines = error_of(text=changed("rate: 0.15", "rate: x")).splitlines()
    assert len(lines) == len(set(lines)) == 1


# Not a recipe


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "recipe.yaml: the file is not a recipe: it has no `key: value` lines."),
        ("- a\n- b\n", "recipe.yaml: the file is not a recipe: it has no `key: value` lines."),
        ("just words\n", "recipe.yaml: the file is not a recipe: it has no `key: value` lines."),
        ("name: a\n\tseed: 1\n", "recipe.yaml:2: the file is not valid YAML: "),
        ("name: [a\nseed: 1\n", "the file is not valid YAML: "),
        ("name: a\x01\n", "the file is not valid YAML: "),
        ("name: *missing\n", "recipe.yaml:1: the file is not valid YAML: "),
        ("name: !!python/object:os.system a\n", "recipe.yaml:1: "),
        ("name: a\n---\nname: b\n", "the file is not valid YAML: "),
        ("seed: 2024-13-45\n", "recipe.yaml:1: "),
    ],
)
def test_a_file_that_is_not_a_recipe_is_rejected_with_the_line(
    error_of: ErrorOf, text: str, expected: str
) -> None:
    assert expected in error_of(text=text)


def test_a_recipe_that_contains_itself_is_rejected(error_of: ErrorOf, changed: Changed) -> None:
    assert "recipe.yaml:2: seed.a contains itself." in error_of(
        text=changed("seed: 7", "seed: &seed {a: *seed}")
    )


def test_a_missing_recipe_is_rejected_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.yaml: cannot be read"):
        load_recipe(f"{tmp_path}/nowhere.yaml")


def test_a_recipe_that_is_not_utf_8_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_bytes("name: 中\n".encode("gb18030"))
    with pytest.raises(UserError, match=r"recipe\.yaml: the file is not valid UTF-8 at byte 6"):
        load_recipe(f"{tmp_path}/recipe.yaml")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "seed: 7",
            "name: other",
            "recipe.yaml:2: name is given twice (first in line 1). Remove one of them.",
        ),
        (
            "    heads: 2",
            "    layers: 3",
            "recipe.yaml:15: model.encoder.layers is given twice (first in line 13). "
            "Remove one of them.",
        ),
    ],
)
def test_a_duplicate_key_is_rejected_with_both_lines(
    error_of: ErrorOf, changed: Changed, old: str, new: str, expected: str
) -> None:
    assert error_of(text=changed(old, new)).endswith(expected)


# Overrides


@pytest.mark.parametrize(
    ("override", "get", "expected"),
    [
        ("train.steps=200", lambda r: r.train.steps, 200),
        ("optimizer.learning_rate=5e-5", lambda r: r.optimizer.learning_rate, 5e-5),
        ("data.packing=false", lambda r: r.data.packing, False),
        ("data.corpus=[a.txt, b.txt]", lambda r: r.data.corpus, ("a.txt", "b.txt")),
        ("tracking.wandb={project: x}", lambda r: r.tracking.wandb.project, "x"),
        ("tracking.wandb.project=x", lambda r: r.tracking.wandb.project, "x"),
        ("engine.deepspeed=a=b", lambda r: r.engine.deepspeed, "a=b"),
        ("init_from=null", lambda r: r.init_from, None),
    ],
)
def test_an_override_is_read_as_yaml(
    load: Load, override: str, get: Callable[[Recipe], object], expected: object
) -> None:
    assert get(load(override)) == expected


def test_the_last_override_of_a_key_takes_effect(load: Load) -> None:
    assert load("seed=1", "seed=2").seed == 2


def test_an_override_replaces_an_invalid_value_of_the_file(load: Load, changed: Changed) -> None:
    assert load("train.steps=5", text=changed("steps: 100", "steps: ten")).train.steps == 5


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train.steps", '"train.steps": expected KEY=VALUE'),
        ("=5", '"=5": expected KEY=VALUE'),
        ("train.step=5", '"train.step=5": train.step: unknown key. Did you mean "steps"?'),
        ("trian.steps=5", '"trian.steps=5": trian: unknown key. Did you mean "train"?'),
        ("name.first=a", "\"name.first=a\": name is 'tiny', which has no keys."),
        ("data.corpus.0.1=a", "has no keys"),
        ("train.steps=ten", '"train.steps=ten": train.steps: "ten":'),
        ("train.steps={", '"train.steps={": the value is not valid YAML'),
        ("name=2024-13-45", '"name=2024-13-45": '),
        ("name=2024-12-24", '"name=2024-12-24": name: '),
    ],
)
def test_an_invalid_override_is_quoted_in_its_error(
    error_of: ErrorOf, override: str, expected: str
) -> None:
    assert expected in error_of(override)


def test_a_duplicate_key_within_an_override_is_rejected(error_of: ErrorOf) -> None:
    assert "given twice" in error_of("tracking={log_every: 1, log_every: 2}")


def test_a_missing_key_is_not_attributed_to_an_override_of_another_key(
    error_of: ErrorOf, changed: Changed
) -> None:
    sentence = error_of("train.steps=5", text=changed("  global_batch_size: 8\n", ""))
    assert "recipe.yaml:24: train.global_batch_size: is required" in sentence


def test_a_wrong_value_in_the_file_is_not_attributed_to_an_override(
    error_of: ErrorOf, changed: Changed
) -> None:
    sentence = error_of(
        "train.steps=5", text=changed("global_batch_size: 8", "global_batch_size: x")
    )
    assert "recipe.yaml:26: train.global_batch_size:" in sentence
