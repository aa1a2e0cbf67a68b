"""The command line: exit codes, one line per mistake, and no files left behind."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ptm.cli import main
from ptm.errors import EXIT_DONE, EXIT_USER
from tests.support.small_runs import QUICKSTART, small_overrides, without_timing

RECIPE = str(QUICKSTART / "roberta-tiny.yaml")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stores") / "bundled"
    arguments = small_overrides(folder, folder.parent, "unused")
    assert main(["preprocess", RECIPE, *arguments, "data.workers=1"]) == EXIT_DONE
    return folder


def metrics_of(folder: Path) -> list[dict[str, object]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [without_timing(json.loads(line)) for line in lines]


def test_help_needs_no_heavy_import() -> None:
    code = "import sys; from ptm.cli import entry; entry.build_parser().format_help()"
    code += "; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "pydantic", "deepspeed"} & set(found.stdout.split())


def test_validate_does_not_import_deepspeed_or_transformers(tmp_path: Path) -> None:
    code = (
        "import sys; from ptm.cli import main; main(['validate', sys.argv[1]]);"
        "print(*[m for m in ('deepspeed', 'transformers', 'wandb') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, RECIPE]
    found = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert found.stdout.splitlines()[-1] == ""


@pytest.mark.parametrize("recipe", sorted((QUICKSTART.parent).glob("*/*.yaml")), ids=str)
def test_every_recipe_validates_and_shows(
    recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["validate", str(recipe)]) == EXIT_DONE
    assert main(["show", str(recipe)]) == EXIT_DONE
    assert "parameters" in capsys.readouterr().out


def test_an_override_may_follow_an_option(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = small_overrides(store, tmp_path, "late")
    assert main(["show", RECIPE, "--batch", *overrides]) == EXIT_DONE
    shown = capsys.readouterr().out
    assert re.search(r"\[MASK\]<\S+>", shown)


MISTAKES = {
    "typo at the top": (["train"], ["trian.steps=5"], r'trian: unknown key. Did you mean "train"'),
    "typo below": (["train"], ["train.stesp=5"], r'train.stesp: unknown key.*"steps"'),
    "typo deep": (
        ["train"],
        ["model.encoder.layerz=5"],
        r'model.encoder.layerz: unknown key.*"layers"',
    ),
    "wrong type": (["train"], ["train.steps=many"], r'train.steps: "many": must be a whole number'),
    "no block": (
        ["validate"],
        ["train=3"],
        r"train: 3: must be a block of keys",
    ),
    "negative": (["train"], ["train.steps=-3"], r"train.steps: -3: must be greater than 0"),
    "batch of nothing": (["train"], ["train.micro_batch_size=0"], r"train.micro_batch_size: 0"),
    "sequence too long": (["train"], ["data.sequence_length=600"], r"longer than model.embedding"),
    "no store": (["train"], ["data.store=/nowhere/at/all"], r"does not exist.*ptm preprocess"),
    "no words": (
        ["train"],
        ["objective.masking={unit: whole_word}", "data.segmenter={type: space}"],
        r"without word starts",
    ),
    "no lexicon": (
        ["train"],
        ["objective.masking={unit: phrase, lexicon: /nowhere.txt}"],
        r'objective\.masking\.lexicon: "/nowhere.txt" is not a file',
    ),
    "no lexicon among the inputs": (
        ["validate", "--inputs"],
        ["objective.masking={unit: phrase, lexicon: /nowhere.txt}"],
        r'objective\.masking\.lexicon: "/nowhere.txt" is not a file',
    ),
    "no vocabulary": (
        ["train"],
        ["tokenizer.vocab=/nowhere.txt"],
        r'tokenizer\.vocab: "/nowhere.txt" is not a file\. Give .* tokenizer\.vocab=PATH',
    ),
    "other size": (["train"], ["tokenizer.size=99"], r"has \d+ tokens.*tokenizer.size is 99"),
    "no such engine": (
        ["train"],
        ["engine.deepspeed=zero9"],
        r"ds_configs/zero9.json does not exist",
    ),
    "no corpus": (
        ["preprocess", "--fresh"],
        ["data.corpus=/nowhere/*.txt"],
        r'no file matches "/nowhere/\*.txt"',
    ),
    "no unit": (
        ["train"],
        ["objective.masking={rate: 0.2}"],
        r"objective.masking: the key `unit` is required and missing",
    ),
    "unknown objective": (["train"], ["objective.type=mml"], r'objective.type.*"mml"'),
    "not KEY=VALUE": (["validate"], ["train.steps"], r"expected KEY=VALUE"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_prints_one_line_and_leaves_no_files(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], mistake: str
) -> None:
    (command, *options), overrides, expected = MISTAKES[mistake]
    arguments = [*small_overrides(store, tmp_path, "wrong", *overrides), *options]
    before = sorted(store.parent.rglob("*"))
    assert main([command, RECIPE, *arguments]) == EXIT_USER
    errors = capsys.readouterr().err
    assert re.search(expected, errors), errors
    assert "Traceback" not in errors
    assert len(errors.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())
    assert sorted(store.parent.rglob("*")) == before


def test_validate_reads_an_existing_lexicon(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lexicon = tmp_path / "phrases.txt"
    lexicon.write_text("龘龘\n", encoding="utf-8")
    overrides = small_overrides(tmp_path / "store", tmp_path, "unused")
    overrides.append(f"objective.masking={{unit: phrase, lexicon: {lexicon}}}")
    assert main(["validate", RECIPE, *overrides]) == EXIT_USER
    assert f"{lexicon}: the lexicon has no usable phrase" in capsys.readouterr().err


def test_an_error_in_a_recipe_file_names_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = Path(RECIPE).read_text().replace("  heads: 2", "  headz: 2")
    recipe = tmp_path / "wrong.yaml"
    recipe.write_text(text)
    line = text.splitlines().index("    headz: 2") + 1
    assert main(["validate", str(recipe)]) == EXIT_USER
    errors = capsys.readouterr().err
    assert f"{recipe}:{line}: model.encoder.headz: unknown key" in errors
    assert '"heads"' in errors


def test_evaluate_export_import_and_fill_agree(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = small_overrides(store, tmp_path / "runs", "whole")
    assert main(["train", RECIPE, *overrides]) == EXIT_DONE
    run = str(tmp_path / "runs" / "whole")
    export, imported = str(tmp_path / "export"), str(tmp_path / "imported")
    assert main(["export", run, export, "--to", "hf"]) == EXIT_DONE
    assert main(["import", export, imported, "--from", "hf"]) == EXIT_DONE
    losses = []
    data = [f"data.store={store}", "data.sequence_length=64", "data.held_out=0.02"]
    for source in (run, export, imported):
        capsys.readouterr()
        assert main(["evaluate", source, *data, "--json"]) == EXIT_DONE
        losses.append(json.loads(capsys.readouterr().out)["loss"])
    assert losses[1:] == pytest.approx([losses[0]] * 2, rel=1e-6)
    recorded = [r for r in metrics_of(Path(run)) if r["split"] == "eval"][-1]["loss"]
    assert losses[0] == pytest.approx(recorded, rel=1e-6)
    assert main(["fill", export, "The capital of France is [MASK].", "--json"]) == EXIT_DONE
    filled = json.loads(capsys.readouterr().out)
    assert len(filled["masks"][0]) == 5
    assert main(["export", run, export, "--to", "hf"]) == EXIT_USER
    assert "already exists" in capsys.readouterr().err
    assert main(["fill", export, "no mask here"]) == EXIT_USER
    assert main(["report", run]) == EXIT_DONE
    assert "uPlot" in (Path(run) / "report.html").read_text()
    assert main(["runs", str(tmp_path / "runs")]) == EXIT_DONE
