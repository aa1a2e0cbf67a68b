"""Sample predictions on the page of a run."""

from __future__ import annotations

import json
import re
from pathlib import Path

from ptm.runs.report import report_page
from ptm.runs.report_samples import samples_section
from ptm.train.samples.record import Sample, SampleRecord
from tests.support.run_folders import write_run


def masked(step: int, *predicted: str, evaluation: str = "eval") -> SampleRecord:
    sample = Sample(
        text="这⟨1⟩书<b>很⟨2⟩", expected=("本", "好"), predicted=predicted, has_gaps=True
    )
    return SampleRecord(step=step, evaluation=evaluation, samples=(sample,))


def test_at_most_six_steps_are_shown_newest_first() -> None:
    page = samples_section([masked(step, "的", "好") for step in range(100, 2100, 100)])
    shown = [int(step.replace(",", "")) for step in re.findall(r"<dt>step ([\d,]+)</dt>", page)]
    assert len(shown) == 6
    assert (shown[0], shown[-1]) == (2000, 100)
    assert shown == sorted(shown, reverse=True)
    assert "at 6 steps of 20 evaluations" in page


def test_gaps_are_numbered_and_expected_tokens_stand_out() -> None:
    page = samples_section([masked(10, "的", "好")])
    assert "<p>这<sup>[1]</sup>书&lt;b&gt;很<sup>[2]</sup></p>" in page
    assert page.count('class="hit"') == 1
    assert '<sup>[2]</sup><span class="hit">好</span>' in page
    assert "<sup>[1]</sup><span>的</span>" in page


def test_a_whole_text_stands_out_if_it_is_the_expected_one() -> None:
    def written(step: int, text: str) -> SampleRecord:
        sample = Sample(text="从前", expected=("有座山",), predicted=(text,))
        return SampleRecord(step=step, evaluation="eval", samples=(sample,))

    page = samples_section([written(1, ""), written(2, "有座山")])
    assert '<dt>step 2</dt><dd><b class="hit">有座山</b></dd>' in page
    assert "<dt>step 1</dt><dd>(nothing)</dd>" in page


def test_the_page_of_a_run_has_its_samples(tmp_path: Path) -> None:
    record = {"step": 10, "split": "train", "loss": 2.0, "tokens": 1}
    run = write_run(tmp_path / "one", records=[record])
    assert "Samples of eval" not in report_page([run])
    lines = [masked(5, "的", "的"), masked(10, "本", "好")]
    text = "".join(f"{line.model_dump_json()}\n" for line in lines)
    (run / "samples.jsonl").write_text(text + json.dumps({"step": 9})[:4], encoding="utf-8")
    page = report_page([run])
    assert "<h2>Samples of eval</h2>" in page
    assert page.index("<dt>step 10</dt>") < page.index("<dt>step 5</dt>")
