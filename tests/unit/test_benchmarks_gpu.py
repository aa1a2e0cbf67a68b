"""The benchmark of one GPU, as far as a CPU can run it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.gpu import steps
from benchmarks.gpu.__main__ import main
from benchmarks.gpu.batches import Texts, made_vocabulary, random_batch
from benchmarks.gpu.check import CASES, Case, check_case, in_columns
from benchmarks.gpu.figures import Bench, read_figures, write_table
from benchmarks.gpu.training import RECIPES
from ptm.recipe import load_recipe
from ptm.recipe.batch import batches_of
from tests.support.varlen import each_sequence

CPU = torch.device("cpu")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_check_accepts_a_correct_kernel(case: Case) -> None:
    found = check_case(each_sequence, case, device=CPU, dtype=torch.float32)
    assert len(found.errors) == 4
    assert max(found.errors) < 1e-5
    assert "failed" not in in_columns(found)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_check_notices_a_window_that_is_too_small(case: Case) -> None:
    def wrong(*arguments: Any, window: tuple[int, int], **options: Any) -> Tensor:
        before = 64 if window[0] < 0 else window[0]
        return each_sequence(*arguments, window=(before - 1, window[1]), **options)

    found = check_case(wrong, case, device=CPU, dtype=torch.float32)
    assert "failed" in in_columns(found)


def test_the_check_notices_a_gradient_that_is_not_finite() -> None:
    def wrong(*arguments: Any, **options: Any) -> Tensor:
        return each_sequence(*arguments, **options) * torch.nan

    found = check_case(wrong, CASES[0], device=CPU, dtype=torch.float32)
    assert in_columns(found)["finite"] is False
    assert "failed" in in_columns(found)


@pytest.mark.parametrize("recipe", ["roberta", "gpt2", "t5", "modernbert"])
@pytest.mark.parametrize("texts", ["full", "short"])
def test_random_rows_are_nearly_full(recipe: str, texts: Texts) -> None:
    loaded = load_recipe(str(RECIPES / recipe / "tiny.yaml"), ["train.global_batch_size=16"])
    vocabulary = made_vocabulary(500)
    plan = batches_of(loaded.train, loaded.engine)
    batch = random_batch(loaded, plan, vocabulary, texts=texts, seed=1)
    size = loaded.data.row_size
    sides = size.source + (size.target if loaded.objective.needs_decoder else 0)
    assert batch.tokens > 0.85 * 16 * sides
    assert batch.examples == 16 if texts == "full" else batch.examples > 32
    assert batch.counts["predicted"] > 0
    (tensors,) = batch.micro_batches
    assert tensors["example_ids"].shape == (16, size.source)
    assert int(tensors["input_ids"].max()) < vocabulary.size
    again = random_batch(loaded, plan, vocabulary, texts=texts, seed=1)
    assert all(torch.equal(tensors[name], again.micro_batches[0][name]) for name in tensors)


def test_a_dry_run_of_one_step(tmp_path: Path) -> None:
    bench = Bench(tmp_path, dry=True)
    case = next(case for case in steps.CASES if case.name == "BERT-base")
    steps.measure(bench, case, {"model": case.name, "attention": "auto"})
    (line,) = read_figures(tmp_path)
    assert line["kind"] == "steps"
    # 4 rows, in the time that was measured.
    np.testing.assert_allclose(line["rows/s"], 4e3 / line["ms"], rtol=1e-2)
    assert line["TFLOP per step"] > 0
    assert "aten::addmm" in (tmp_path / "profiles.txt").read_text(encoding="utf-8")

    write_table(tmp_path, dry=True)
    table = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "dry run" in table
    assert f"| BERT-base | auto | {line['ms']} |" in table


def fail() -> None:
    raise ValueError("wrong\nshape")


def test_a_failed_case_is_recorded_and_the_next_one_runs(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with bench.case("check", case="first"):
        fail()
    with bench.case("check", case="second"):
        bench.record("check", case="second", error=0.12345)
    assert read_figures(tmp_path) == [
        {"kind": "check", "case": "first", "failed": "ValueError: wrong shape"},
        {"kind": "check", "case": "second", "error": 0.1235},
    ]


def test_an_unknown_section_is_rejected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path / "out"), "env", "stepz"])
    assert ended.value.code == 2
    assert "unknown sections: stepz" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_cases_beyond_the_time_budget_are_recorded_as_skipped(tmp_path: Path) -> None:
    late = Bench(tmp_path, only="T5", deadline=0.0)
    assert not late.may_run("steps", model="T5-base")
    assert not late.may_run("steps", model="BERT-base")
    assert read_figures(tmp_path) == [
        {"kind": "steps", "model": "T5-base", "skipped": "no time left"}
    ]
    assert Bench(tmp_path, only="T5").may_run("steps", model="T5-base")
