"""LoRA: what is trained and saved, stops, merged weights, and recipes that cannot be adapted."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ptm.checkpoint.format import Checkpoint
from ptm.checkpoint.manifest import WEIGHT
from ptm.cli import main
from ptm.errors import EXIT_DONE, EXIT_STOPPED, EXIT_USER, UserError
from ptm.interop.sources.open import open_source
from ptm.interop.sources.run import RunSource
from ptm.recipe import load_recipe
from ptm.runs.evaluate import evaluate_source
from ptm.runs.show import show
from ptm.runs.verify import verify
from tests.support.covers import by_default
from tests.support.faults import Killed
from tests.support.labelled_texts import classifying, write_corpora, write_stores
from tests.support.small_runs import Runs

SHORT = (
    *("train.steps=6", "tracking.log_every=2", "tracking.evaluate_every=3"),
    *("checkpoint.every=3", "optimizer.learning_rate=1e-2", "schedule.warmup=0"),
)
LORA = "adapter={type: lora, r: 4, lora_dropout: 0.1, target_modules: [query, value, down]}"
HEAD = ("pooler.", "classifier.")


@pytest.fixture(scope="module")
def folder(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labelled texts, their stores, and the run `runs/mlm` that adapters start from."""
    made = tmp_path_factory.mktemp("labelled")
    write_corpora(made)
    write_stores(made)
    runs = Runs(store, made / "runs")
    assert runs.train("mlm", "train.steps=2", "data.held_out=0") == EXIT_DONE
    return made


@pytest.fixture
def options(folder: Path) -> tuple[str, ...]:
    """Overrides of a classifier that is trained by LoRA."""
    return (*classifying(folder), *SHORT, LORA, f"init_from={folder}/runs/mlm")


def source_of(runs: Runs, name: str) -> RunSource:
    source = open_source(str(runs.folder / name))
    assert isinstance(source, RunSource)
    return source


@pytest.mark.parametrize(
    ("stage", "precision"),
    [
        by_default(one, ((3, "bf16"),))
        for one in ((0, "fp32"), (1, "fp16"), (2, "bf16"), (3, "bf16"))
    ],
)
def test_only_adapter_and_head_are_trained_and_have_states(
    runs: Runs, folder: Path, options: tuple[str, ...], stage: int, precision: str
) -> None:
    engine = (f"engine.deepspeed=zero{stage}", f"engine.precision={precision}")
    assert runs.train("lora", *options, *engine) == EXIT_DONE
    before = Checkpoint.open(folder / "runs" / "mlm" / "checkpoints" / "global_step2")
    after = Checkpoint.open(runs.folder / "lora" / "checkpoints" / "global_step6")
    kinds: dict[str, set[str]] = {}
    for name, kind in after.fragments:
        kinds.setdefault(name, set()).add(kind)
    assert kinds.keys() == after.shapes.keys()
    for name, found in kinds.items():
        if ".lora." in name or name.startswith(HEAD):
            assert found > {WEIGHT}, name
            assert bool(after.weights(name).any()), f"{name} was not trained"
        else:
            assert found == {WEIGHT}, name
            assert torch.equal(after.weights(name), before.weights(name)), name
    assert sum(".lora." in name for name in kinds) == 6


@pytest.mark.parametrize(
    ("before", "after"), [by_default(one, ((3, 1),)) for one in ((0, 3), (3, 1), (2, 0))]
)
def test_a_stopped_run_resumes_under_another_stage(
    runs: Runs, options: tuple[str, ...], before: int, after: int
) -> None:
    assert runs.train("calm", *options, f"engine.deepspeed=zero{before}") == EXIT_DONE
    stopped = runs.train("stopped", *options, f"engine.deepspeed=zero{before}", stop_at=4)
    assert stopped == EXIT_STOPPED
    assert runs.train("stopped", *options, f"engine.deepspeed=zero{after}") == EXIT_DONE
    for one, other in zip(runs.metrics("stopped"), runs.metrics("calm"), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)


def test_a_killed_run_resumes_with_identical_metrics(runs: Runs, options: tuple[str, ...]) -> None:
    assert runs.train("calm", *options) == EXIT_DONE
    with pytest.raises(Killed):
        runs.train("killed", *options, die_at=5)
    assert runs.train("killed", *options) == EXIT_DONE
    assert runs.metrics("killed") == runs.metrics("calm")


def test_a_run_is_read_with_its_updates(runs: Runs, folder: Path, options: tuple[str, ...]) -> None:
    assert runs.train("lora", *options) == EXIT_DONE
    run = source_of(runs, "lora")
    found = evaluate_source(run, [])
    assert found["dev/loss"] == pytest.approx(runs.metrics("lora")[-1]["loss"], rel=1e-5)
    stored, merged = run.stored_tensors(), run.tensors()
    assert merged.keys() == {name for name in stored if ".lora." not in name}
    name = "encoder_00.attention.qkv"
    update = 2.0 * stored[f"{name}.lora.value_B"] @ stored[f"{name}.lora.value_A"]
    moved = merged[f"{name}.weight"] - stored[f"{name}.weight"]
    torch.testing.assert_close(moved[64:], update, atol=1e-6, rtol=0)
    assert not moved[32:64].any(), "the key is not updated"
    both = open_source(str(run.folder), average=2).tensors()
    earlier = open_source(str(run.folder), step=3).tensors()
    for name, tensor in both.items():
        torch.testing.assert_close(tensor, (merged[name] + earlier[name]) / 2)
    assert all(one.problem is None for one in verify(run.folder))
    # Another training starts from the merged weights.
    again = (*classifying(folder), *SHORT, f"init_from={run.folder}")
    assert runs.train("again", *again) == EXIT_DONE
    assert runs.metrics("again")[0]["loss"] == pytest.approx(found["dev/loss"], rel=1e-5)


def test_show_counts_what_is_trained(runs: Runs, options: tuple[str, ...]) -> None:
    recipe, *overrides = runs.arguments("shown", *options)
    lines = list(show(load_recipe(recipe, overrides)))
    counts = {line.split()[0]: line.split()[1] for line in lines if line.startswith("  ")}
    # Query and value: 4 x (32 + 32) each; down: 4 x (64 + 32). Pooler and classifier.
    trained = 2 * 4 * 64 + 4 * 96 + (32 * 32 + 32) + (32 * 3 + 3)
    assert counts["trainable"] == f"{trained:,}"


# Recipes and commands that are rejected


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            "adapter.target_modules=[quary]",
            r'adapter\.target_modules\.0: "quary" matches no matrix .* Did you mean "query"\?',
        ),
        (
            "adapter.target_modules=[query, encoder_07.*]",
            r'adapter\.target_modules\.1: "encoder_07\.\*" matches no matrix',
        ),
        ("init_from=null", r"adapter: leaves all other weights .* Set init_from"),
        ("adapter.r=0", r"adapter\.r: 0: "),
        ("adapter.rank=8", r"adapter\.rank: unknown key\."),
        ("model.encoder.layers=2", r"init_from: .* has no encoder_01\..* does not train it"),
        (
            "model.encoder={type: lstm, layers: 1, hidden_size: 32}",
            "no matrices that LoRA can update|width|positions|encoder",
        ),
        ('train.freeze=["*lora*", "pooler*", "classifier*"]', "nothing would be trained"),
    ],
)
def test_a_recipe_that_cannot_be_adapted_is_rejected(
    runs: Runs, options: tuple[str, ...], change: str, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        runs.train("rejected", *options, change)
    assert not (runs.folder / "rejected").exists()


@pytest.mark.parametrize(
    ("run", "words", "sentence"),
    [
        ("mlm", ["--adapter"], "--adapter is for runs whose recipe has adapter"),
        ("mlm", ["--base", "x"], "--base x is used only with --adapter"),
        ("lora", ["--adapter", "--average", "2"], "--average cannot be used with --adapter"),
        ("lora", ["--adapter"], "which transformers cannot load. Export it"),
        ("lora", ["--adapter", "--base", "no/such/base"], "neither a folder with config.json"),
    ],
)
def test_an_export_of_an_adapter_that_cannot_be_made_is_rejected(
    runs: Runs,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    run: str,
    words: list[str],
    sentence: str,
) -> None:
    made = Runs(runs.store, folder / "runs")
    if not (made.folder / "lora").exists():
        start = f"init_from={made.folder / 'mlm'}"
        assert made.train("lora", *SHORT, LORA, start, "data.held_out=0") == EXIT_DONE
    out = tmp_path / "out"
    assert main(["export", str(made.folder / run), str(out), "--to", "hf", *words]) == EXIT_USER
    assert sentence in capsys.readouterr().err
    assert not out.exists()


def test_an_adapter_is_not_exported_for_a_base_of_other_weights(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "other"):
        assert runs.train(name, "train.steps=1", "data.held_out=0", f"seed={len(name)}") == 0
        words = ["export", str(runs.folder / name), str(tmp_path / name), "--to", "hf"]
        assert main(words) == EXIT_DONE
    start = f"init_from={tmp_path / 'one'}"
    assert runs.train("lora", *SHORT, LORA, start, "data.held_out=0") == EXIT_DONE
    words = ["export", str(runs.folder / "lora"), str(tmp_path / "adapter"), "--to", "hf"]
    base = ["--adapter", "--base", str(tmp_path / "other")]
    assert main([*words, *base]) == EXIT_USER
    assert "trained beside other weights than" in capsys.readouterr().err
    assert not (tmp_path / "adapter").exists()
