"""Files of an earlier version (commit 3328e95) are read, and a run resumes with its metrics.

The expected metrics are those of that version when it resumed the run without dropout, whose random
numbers have changed since.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ptm.cli import main
from ptm.errors import EXIT_DONE, EXIT_USER, UserError
from ptm.recipe import Recipe, load_recipe, recipe_from_data
from ptm.recipe.saved_files import read_recipe_data
from ptm.train.run import train

FIXTURE = Path(__file__).parents[2] / "fixtures" / "format1"
LENGTH = ("data.sequence_length=32", "data.held_out=0.1")
EXPECTED = json.loads((FIXTURE / "expected.json").read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files, with the keys of the user's own recipe renamed as the error messages request."""
    copied = tmp_path / "old"
    shutil.copytree(FIXTURE, copied)
    recipe = copied / "recipe.yaml"
    text = recipe.read_text(encoding="utf-8")
    recipe.write_text(text.replace("{of:", "{parts:").replace("report_every", "log_every"))
    monkeypatch.chdir(copied)
    return copied


def test_the_recipe_of_the_user_is_an_error_that_names_the_new_keys() -> None:
    with pytest.raises(UserError) as caught:
        load_recipe(str(FIXTURE / "recipe.yaml"))
    for former, new in (
        ("model.embedding.of", "model.embedding.parts"),
        ("tracking.report_every", "tracking.log_every"),
    ):
        assert f'{former}: unknown key. It is called "{new}" now.' in str(caught.value)


def resume(*, steps: int) -> int:
    return train(lambda: load_recipe("recipe.yaml", [f"train.steps={steps}"]), fresh=False)


def assert_close(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert {key: found[key] for key in expected} == pytest.approx(expected, rel=1e-5)


def test_a_run_resumes_with_the_recorded_metrics(folder: Path) -> None:
    for recipe in (folder / "recipe.yaml", folder / "runs" / "old" / "recipe.yaml"):
        text = recipe.read_text(encoding="utf-8")
        recipe.write_text(text.replace("dropout: 0.1", "dropout: 0.0"), encoding="utf-8")
    assert resume(steps=8) == EXIT_DONE
    lines = (folder / "runs/old/metrics.jsonl").read_text(encoding="utf-8").splitlines()
    found = [one for one in map(json.loads, lines) if one["step"] > 4]
    assert len(found) == len(EXPECTED["continued"])
    for one, expected in zip(found, EXPECTED["continued"], strict=True):
        assert one.pop("split") == expected.pop("split")
        assert_close(one, expected)


def test_the_index_of_the_store_without_checksums_is_built_again_and_equal(folder: Path) -> None:
    def arrays() -> dict[str, bytes]:
        found = sorted((folder / "store").rglob("*.npy"))
        return {str(path.relative_to(folder)): path.read_bytes() for path in found}

    before = arrays()
    assert resume(steps=5) == EXIT_DONE
    assert arrays() == before
    assert len(list((folder / "store" / "index").glob("*/index.json"))) == 2


@pytest.mark.parametrize("source", ["runs/old", "export", "import"])
def test_a_model_is_evaluated_to_the_recorded_metrics(
    source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", source, "data.store=store", "--json", *LENGTH]) == EXIT_DONE
    assert_close(json.loads(capsys.readouterr().out), EXPECTED["evaluated"])


@pytest.mark.parametrize("override", ["optimizer.bogus=3", "train.steps=foo", "engine=5"])
def test_an_override_of_an_evaluation_is_checked_like_one_of_a_training(
    override: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "runs/old", override]) == EXIT_USER
    assert f'"{override}"' in capsys.readouterr().err


def test_the_checkpoint_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "runs/old"]) == EXIT_DONE
    assert "global_step4  complete" in capsys.readouterr().out


def test_the_export_is_unchanged(folder: Path) -> None:
    assert main(["export", "runs/old", "again", "--to", "hf"]) == EXIT_DONE
    old, new = (load_file(folder / name / "model.safetensors") for name in ("export", "again"))
    assert old.keys() == new.keys()
    assert all(torch.equal(old[name], new[name]) for name in old)
    # Keys that are newer than the old export have their defaults in both. New exports have the
    # names of the tokenizer's files without their folders.
    recipes = []
    for name in ("export", "again"):
        data = read_recipe_data(folder / name / "recipe.yaml")
        data["tokenizer"]["vocab"] = Path(data["tokenizer"]["vocab"]).name
        recipes.append(recipe_from_data(data, Recipe, name=name))
    assert recipes[0] == recipes[1]
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        texts = [(folder / one / name).read_text(encoding="utf-8") for one in ("export", "again")]
        assert texts[0] == texts[1]
