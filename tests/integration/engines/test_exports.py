"""Checkpoints of every layout hold the same model, and one process can resume from any of
them."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Callable
from math import prod
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from ptm.checkpoint.format import MANIFEST, Checkpoint
from ptm.errors import EXIT_DONE
from ptm.interop.hf.io.export import export_to_huggingface
from ptm.interop.sources.open import open_source
from ptm.recipe import load_recipe
from ptm.train.run import train
from tests.integration.engines.comparing import counterpart, differences, exact_ones
from tests.integration.engines.trainings import (
    FOUR_RANKS,
    STEPS,
    TWO_RANKS,
    TWO_STAGES,
    exact,
    zero,
)
from tests.support.launched import Launch, reports

LAYOUTS = [
    # transformers has no model with shared layers and residual attention.
    *(
        ("two_ranks", name)
        for name in exact_ones([*TWO_RANKS, *TWO_STAGES])
        if not name.startswith("shared")
    ),
    *(("four_ranks", name) for name in exact_ones(FOUR_RANKS)),
]
CUT = [
    *(("two_ranks", "stages2"), ("two_ranks", "untied-stages2"), ("two_ranks", "zero3")),
    *(("four_ranks", name) for name in ("stages4", "stages2x2", "zero1", "zero3")),
]
BY_CHANCE = "attention.self.key.bias"
"""Softmax cancels this bias: its gradient is rounding error, which Adam scales to full steps."""
Exported = Callable[[Path], dict[str, Tensor]]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Returns the tensors that `ptm export` writes for a run."""
    folder, found = tmp_path_factory.mktemp("exports"), dict[Path, dict[str, Tensor]]()

    def export(run: Path) -> dict[str, Tensor]:
        if run not in found:
            out = folder / f"export{len(found)}"
            source = open_source(str(run), step=STEPS)
            export_to_huggingface(source, out, weights_format="safetensors")
            found[run] = load_file(out / "model.safetensors")
        return found[run]

    return export


@pytest.mark.parametrize(("fixture", "name"), LAYOUTS)
def test_an_export_equals_the_one_of_one_process(
    request: pytest.FixtureRequest, exported: Exported, one_rank: Launch, fixture: str, name: str
) -> None:
    launch: Launch = request.getfixturevalue(fixture)
    launch.metrics(name)
    one_rank.metrics(counterpart(name))
    found = exported(launch.runs / name)
    expected = exported(one_rank.runs / counterpart(name))
    assert found.keys() == expected.keys()
    for key, tensor in expected.items():
        assert found[key].shape == tensor.shape
        within = 1e-4 if key.endswith(BY_CHANCE) else 1e-6
        torch.testing.assert_close(found[key], tensor, rtol=0, atol=within, msg=key)


def test_the_exports_of_other_trainings_differ(exported: Exported, one_rank: Launch) -> None:
    names = ("alone", "alone-other-seed")
    assert all(one_rank.metrics(name) for name in names)
    one, other = (exported(one_rank.runs / name) for name in names)
    assert one.keys() == other.keys()
    assert max(float((one[key] - other[key]).abs().max()) for key in one) > 0.01


@pytest.mark.parametrize(("fixture", "name"), CUT)
def test_fragments_cover_every_parameter_exactly_once(
    request: pytest.FixtureRequest, one_rank: Launch, fixture: str, name: str
) -> None:
    launch: Launch = request.getfixturevalue(fixture)
    launch.metrics(name)
    one_rank.metrics(counterpart(name))
    folder = launch.runs / name / "checkpoints" / f"global_step{STEPS}"
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8").partition("\n")[2])
    pieces = defaultdict(list)
    for file in manifest["files"]:
        for fragment in file["fragments"]:
            pieces[fragment["name"], fragment["kind"]].append(fragment)
    expected = one_rank.runs / counterpart(name) / "checkpoints" / folder.name
    shapes = Checkpoint.open(expected).shapes
    kinds = ("weight", "exp_avg", "exp_avg_sq")
    assert pieces.keys() == {(parameter, kind) for parameter in shapes for kind in kinds}
    for (parameter, _), found in pieces.items():
        at = 0
        for fragment in sorted(found, key=lambda fragment: fragment["start"]):
            assert fragment["start"] == at, parameter
            at += fragment["count"]
        assert at == prod(shapes[parameter]), parameter
    # The state is really sharded: more than one rank has written fragments.
    assert sum(bool(file["fragments"]) for file in manifest["files"]) > 1


@pytest.fixture(scope="module")
def continued(
    store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Launch, str], list[dict[str, object]]]:
    """Returns the reports of four more steps, trained in this process alone."""
    runs = tmp_path_factory.mktemp("continued")

    def go_on(launch: Launch, name: str) -> list[dict[str, object]]:
        launch.metrics(name)
        here = runs / str(len(list(runs.iterdir())))
        shutil.copytree(launch.runs / name, here / name)
        more = exact(name, zero(1), f"train.steps={STEPS + 4}")
        recipe, *overrides = more.arguments(store, here)
        assert train(lambda: load_recipe(recipe, overrides), fresh=False) == EXIT_DONE
        return [one for one in reports(here / name) if one["step"] > STEPS]

    return go_on


@pytest.mark.parametrize(
    ("fixture", "name"),
    [("two_ranks", "stages2"), ("four_ranks", "stages2x2"), ("four_ranks", "zero3")],
)
def test_one_process_resumes_from_a_checkpoint_of_several_ranks(
    request: pytest.FixtureRequest,
    one_rank: Launch,
    continued: Callable[[Launch, str], list[dict[str, object]]],
    fixture: str,
    name: str,
) -> None:
    found = continued(request.getfixturevalue(fixture), name)
    assert [one["step"] for one in found if one["split"] == "train"] == [
        *range(STEPS + 1, STEPS + 5)
    ]
    worst = differences(found, continued(one_rank, "alone"))
    assert worst["loss"] < 1e-5
    assert worst["grad_norm"] < 1e-5
