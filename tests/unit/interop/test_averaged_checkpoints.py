"""`ptm export --average N` writes the mean of a run's last checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

from ptm.cli import main
from ptm.errors import EXIT_DONE, EXIT_USER, UserError
from ptm.interop.sources.open import open_source
from tests.support.bert_pairs import (
    Size,
    blocks_of,
    plan_of,
    random_weights,
    recipe_of,
    write_model,
)
from tests.support.written_runs import write_checkpoint

STEPS = (10, 20, 25)


@pytest.fixture
def weights(small_vocab: Path) -> dict[int, dict[str, Tensor]]:
    """Weights by step, clearly different from each other."""
    plan = plan_of(recipe_of(blocks_of(small_vocab, Size(1, 16, 2))))
    first = random_weights(plan)
    return {step: {n: t * (1 + step) for n, t in first.items()} for step in STEPS}


@pytest.fixture
def run(tmp_path: Path, small_vocab: Path, weights: dict[int, dict[str, Tensor]]) -> Path:
    folder = tmp_path / "run"
    for step, there in weights.items():
        write_checkpoint(
            folder / "checkpoints" / f"global_step{step}",
            step,
            {name: {"weight": tensor} for name, tensor in there.items()},
        )
    blocks = blocks_of(small_vocab, Size(1, 16, 2))
    (folder / "recipe.yaml").write_text(yaml.safe_dump(blocks))
    return folder


@pytest.mark.parametrize(
    ("count", "step", "used"),
    [(1, None, (25,)), (2, None, (20, 25)), (3, None, STEPS), (2, 20, (10, 20))],
)
def test_tensors_are_the_mean_of_the_last_checkpoints(
    run: Path,
    weights: dict[int, dict[str, Tensor]],
    count: int,
    step: int | None,
    used: tuple[int, ...],
) -> None:
    source = open_source(str(run), step=step, average=count)
    found = source.tensors()
    assert found.keys() == weights[10].keys()
    for name, tensor in found.items():
        expected = torch.stack([weights[s][name].double() for s in used]).mean(dim=0)
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, expected.float()), name
    assert ", ".join(map(str, used)) in source.description()


def test_the_steps_of_an_average_are_in_the_output_and_the_model_card(
    run: Path,
    tmp_path: Path,
    weights: dict[int, dict[str, Tensor]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    assert main(["export", str(run), str(out), "--to", "hf", "--average", "3"]) == EXIT_DONE
    assert "10, 20, 25" in capsys.readouterr().out
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "10, 20, 25" in card
    assert "null" not in card
    # No file of a published folder names a path of this machine.
    texts = [path for path in out.iterdir() if path.suffix in (".json", ".yaml", ".md", ".txt")]
    assert not [path for path in texts if str(tmp_path.parent) in path.read_text(encoding="utf-8")]
    there = load_file(out / "model.safetensors")["bert.embeddings.word_embeddings.weight"]
    tables = (w["word_embedding.weight"].double() for w in weights.values())
    mean = sum(tables, start=torch.zeros((), dtype=torch.float64)) / 3
    assert torch.equal(there, mean.float())


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--average", "4"), "up to step 25, but the run has 3 (10, 20, 25)"),
        (("--average", "2", "--step", "10"), "up to step 10, but the run has 1 (10)"),
        (("--average", "0"), "at least 1"),
    ],
)
def test_averaging_more_checkpoints_than_exist_names_their_steps(
    run: Path,
    tmp_path: Path,
    options: tuple[str, ...],
    named: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["export", str(run), str(tmp_path / "o"), "--to", "hf", *options]) == EXIT_USER
    assert named in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_a_damaged_checkpoint_in_the_average_is_rejected(run: Path) -> None:
    (run / "checkpoints" / "global_step20" / "rank00000.bin").write_bytes(b"short")
    with pytest.raises(UserError, match="global_step20"):
        open_source(str(run), average=2)


def test_average_is_rejected_for_a_model_that_is_not_a_run(
    tmp_path: Path, small_vocab: Path
) -> None:
    blocks = blocks_of(small_vocab, Size(1, 16, 2))
    write_model(tmp_path / "model", blocks, random_weights(plan_of(recipe_of(blocks))))
    with pytest.raises(UserError, match="--average is for runs"):
        open_source(str(tmp_path / "model"), average=2)
