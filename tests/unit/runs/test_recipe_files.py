"""`ptm recipes`: what comes with ptm is listed and copied, and travels in a wheel."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pytest

from ptm.errors import UserError
from ptm.recipe import load_recipe
from ptm.runs.recipe_files import bundled_recipes, copy_bundled
from tests.support.small_runs import PROJECT


def test_every_recipe_is_listed_with_what_it_is() -> None:
    found = {one.name: one.summary for one in bundled_recipes()}
    files = (PROJECT / "recipes").rglob("*.yaml")
    assert set(found) == {str(f.relative_to(PROJECT / "recipes").with_suffix("")) for f in files}
    assert [name for name, summary in found.items() if not summary] == []
    assert found["bert/base"].startswith("BERT (base): masked tokens and next-sentence prediction")
    assert [one.name for one in bundled_recipes(["finetune/regression"])] == [
        "finetune/regression/stsb"
    ]


def test_copies_keep_their_paths_and_what_they_need(tmp_path: Path) -> None:
    written = copy_bundled(["quickstart", "recipes/bert/tiny.yaml", "ds_configs"], tmp_path)
    names = {str(path.relative_to(tmp_path)) for path in written}
    assert {
        "recipes/quickstart/roberta-tiny.yaml",
        "recipes/quickstart/vocab.txt",
        "recipes/quickstart/corpus/chinese.txt",
        "recipes/bert/tiny.yaml",
        "ds_configs/zero3.json",
    } <= names
    assert "recipes/bert/base.yaml" not in names
    assert load_recipe(str(tmp_path / "recipes/quickstart/roberta-tiny.yaml")).name == "quickstart"
    assert copy_bundled(["quickstart"], tmp_path) == []


def test_a_changed_file_is_not_overwritten(tmp_path: Path) -> None:
    copy_bundled(["bert/tiny"], tmp_path)
    changed = tmp_path / "recipes" / "bert" / "tiny.yaml"
    changed.write_text("name: mine\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"tiny\.yaml: the file exists and differs"):
        copy_bundled(["bert"], tmp_path)
    assert changed.read_text(encoding="utf-8") == "name: mine\n"
    assert not (tmp_path / "recipes" / "bert" / "base.yaml").exists()


def test_a_wrong_name_suggests_the_right_one() -> None:
    with pytest.raises(UserError, match=r'there is no "quickstrat"\. Did you mean "quickstart"\?'):
        bundled_recipes(["quickstrat"])


def test_a_wheel_has_every_folder_of_these_files() -> None:
    listed = subprocess.run(
        ["git", "-C", str(PROJECT), "ls-files", "recipes", "ds_configs", "launch"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    data_files = settings["tool"]["setuptools"]["data-files"]
    folders = {str(Path(name).parent) for name in listed}
    assert {f"share/ptm/{folder}" for folder in folders} <= set(data_files)
    assert all(data_files[f"share/ptm/{folder}"] == [f"{folder}/*.*"] for folder in folders)
    assert all("." in Path(name).name for name in listed)


def test_a_name_that_resembles_none_lists_the_folders() -> None:
    with pytest.raises(UserError, match=r"Choose one of: .*\bfinetune\b") as caught:
        bundled_recipes(["nosuch"])
    assert len(str(caught.value)) < 500
