"""The page of a run: its curves, events and numbers, without a request to the network."""

from __future__ import annotations

import json
import re
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from ptm.cli.entry import main
from ptm.errors import EXIT_DONE, EXIT_USER, UserError
from ptm.runs.page import serve as serving
from ptm.runs.page.data import charts_of, run_curves
from ptm.runs.report import report_page, write_report
from tests.support.run_folders import write_run


def reports(*steps: int) -> list[dict[str, Any]]:
    return [
        record
        for step in steps
        for record in (
            {
                "step": step,
                "split": "train",
                "tokens": 100 * step,
                "loss": 8 / step,
                "mlm_loss": 8 / step,
                "loss_scale": 1.0,
                "tokens_per_second": 1000.0 + step,
                "step_seconds": 0.5,
                "system/a/gpu0_percent": 90.0 + step,
                "system/a/gpu1_percent": 80.0 + step,
                "system/b/gpu0_percent": 70.0 + step,
            },
            {"step": step, "split": "eval", "loss": 9 / step, "mlm_accuracy": step / 100},
        )
    ]


LOG = (
    "x INFO ptm.train.run: runs/one: 568,369 parameters, objective mlm\nresuming from step 20 (x)\n"
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    run = write_run(tmp_path / "one", "train.steps=40", records=reports(10, 20, 40), log=LOG)
    event = {"time": 0.0, "step": 30, "action": "skip", "what": "loss", "value": 12.5}
    (run / "events.jsonl").write_text(json.dumps(event) + "\n{damaged\n", encoding="utf-8")
    return run


def data_of(page: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_charts_have_training_and_evaluations_together_and_nothing_twice(run: Path) -> None:
    charts = charts_of([run_curves(run)])
    shown = {chart.metric: [line.name for line in chart.lines] for chart in charts}
    assert shown == {
        "loss": ["train", "eval"],
        "mlm_accuracy": ["eval"],
        "tokens_per_second": [""],
        "gpu_percent": ["a 0", "a 1", "b 0"],
    }
    assert [chart.title for chart in charts[2:]] == ["tokens per second", "gpu (%)"]
    assert charts[0].lines[0].steps == (10, 20, 40)
    assert charts[0].lines[0].values == (0.8, 0.4, 0.2)
    assert [line.smooth for line in charts[0].lines] == [True, False]


def test_the_page_has_numbers_events_and_recipe(run: Path) -> None:
    page = write_report([run]).read_text(encoding="utf-8")
    for text in (
        *(
            "40 of 40",
            "4,000",
            "568,369",
            "0:20",
            "200 tokens per second on average",
            "0.9000 → 0.2250",
        ),
        *(
            "anomaly at step 30: loss 12.5 (skip)",
            "resumed from step 20",
            "transformer 2 x 128",
            "done",
        ),
        "runs_dir: runs",
    ):
        assert text in page
    assert [mark["step"] for mark in data_of(page)["marks"]] == [20, 30]
    assert len(data_of(page)["charts"]) == page.count("<figure data-chart=")
    assert len(page) < 200_000


def test_the_page_requests_nothing(run: Path) -> None:
    page = report_page([run])
    assert "default-src 'none'" in page
    assert not re.search(r'(src|href)="?(https?:)?//', page)


def test_text_of_a_run_cannot_leave_its_element(tmp_path: Path) -> None:
    records = reports(1, 2)
    for record in records:
        record["</script><b>"] = float(record["step"])
    run = write_run(tmp_path / "one", "data.store='</pre><b>'", records=records)
    page = report_page([run])
    assert "</script><b>" not in page
    assert "</pre><b>" not in page


def test_several_runs_share_their_charts(run: Path, tmp_path: Path) -> None:
    other = write_run(
        tmp_path / "two", "optimizer.learning_rate=1e-3", records=reports(10, 30), log=LOG
    )
    page = write_report([run, other], tmp_path / "both.html").read_text(encoding="utf-8")
    lines = data_of(page)["charts"][0]["lines"]
    assert [line["name"] for line in lines] == ["one train", "one eval", "two train", "two eval"]
    one, one_eval, two, two_eval = ((line["colour"], tuple(line["dash"])) for line in lines)
    assert (one[0], two[0]) == (one_eval[0], two_eval[0]), "a run has one colour"
    assert (one[1], one_eval[1]) == (two[1], two_eval[1]), "a split has one dash"
    assert len({one, one_eval, two, two_eval}) == 4
    assert "one: anomaly at step 30" in page
    assert "optimizer.learning_rate" in page
    with pytest.raises(UserError, match="given twice"):
        write_report([run, run])


def test_what_is_damaged_is_left_out_and_named(
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Curves and recipe are whole: the page of a long training is not lost for one line."""
    (run / "environment.json").write_text("{", encoding="utf-8")
    (run / "samples.jsonl").write_text("{<\n", encoding="utf-8")
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write("{broken\n" + json.dumps(reports(50)[0]) + "\n")
    (run / "evaluations").mkdir()
    (run / "evaluations" / "dev.json").write_text("[]", encoding="utf-8")
    places = ("environment.json:", "metrics.jsonl:7:", "samples.jsonl:1:", "dev.json:")
    other = write_run(tmp_path / "two", "train.steps=50", records=reports(10, 30), log=LOG)
    for runs in ([run], [run, other]):
        out = tmp_path / "page.html"
        caplog.clear()
        assert main(["report", *map(str, runs), "--out", str(out)]) == EXIT_DONE
        warnings, page = capsys.readouterr().err + caplog.text, out.read_text(encoding="utf-8")
        for place in places:
            assert f"{run}/" in warnings
            assert place in warnings
            assert place in page
        assert data_of(page)["charts"][0]["lines"][0]["steps"] == [10, 20, 40, 50]
    assert "50 of 40 steps" in report_page([run])


@pytest.fixture
def address(run: Path) -> str:
    """The address of the page of `run`, while it is served."""
    started: list[str] = []
    ready = threading.Event()

    def note(line: str) -> None:
        started.append(line.split()[0])
        ready.set()

    thread = threading.Thread(
        target=lambda: serving.serve(lambda: report_page([run]), port=0, on_start=note), daemon=True
    )
    thread.start()
    assert ready.wait(10)
    return started[0]


def test_the_live_page_follows_the_run(run: Path, address: str) -> None:
    def get() -> str:
        with urllib.request.urlopen(address, timeout=10) as answer:
            assert answer.headers["Refresh"] == "10"
            return str(answer.read().decode())

    assert data_of(get())["charts"][0]["lines"][0]["steps"] == [10, 20, 40]
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(reports(41)[0]) + "\n")
    assert data_of(get())["charts"][0]["lines"][0]["steps"] == [10, 20, 40, 41]
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{address}recipe.yaml", timeout=10)


def test_the_live_page_answers_only_requests_to_this_machine(address: str) -> None:
    """A page of the network whose name leads to 127.0.0.1 must not read the report."""
    port = address.rstrip("/").rpartition(":")[2]

    def status(host: str) -> int:
        try:
            request = urllib.request.Request(address, headers={"Host": host})
            return int(urllib.request.urlopen(request, timeout=10).status)
        except urllib.error.HTTPError as error:
            return error.code

    for name in ("localhost", "127.0.0.1", "[::1]", "LOCALHOST"):
        assert status(f"{name}:{port}") == 200
    for host in (f"evil.example:{port}", "localhost", "127.0.0.1:1", f"localhost.evil:{port}"):
        assert status(host) == 403


def test_the_live_page_waits_for_reports_that_are_gone(run: Path, address: str) -> None:
    (run / "metrics.jsonl").unlink()
    with pytest.raises(urllib.error.HTTPError, match="503") as caught:
        urllib.request.urlopen(address, timeout=10)
    text = caught.value.read().decode()
    assert "metrics.jsonl does not exist" in text
    assert 'http-equiv="refresh"' in text


def test_wrong_uses_are_errors(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = write_run(tmp_path / "empty")
    for words, message in (
        ([str(tmp_path)], "is not a run"),
        ([str(empty)], "no reports yet"),
        ([str(run), "--port", "1"], "--port is for --live"),
        ([str(run), "--live", "--port", "99999"], "--port 99999: cannot be used"),
        ([str(run), "--out", str(tmp_path / "no" / "page.html")], "cannot be written"),
    ):
        assert main(["report", *words]) == EXIT_USER
        assert message in capsys.readouterr().err
    assert main(["report", str(run), "--out", str(tmp_path / "page.html")]) == EXIT_DONE


def test_only_a_page_is_overwritten(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = run / "corpus.tsv"
    corpus.write_text("1\ta text\n", encoding="utf-8")
    assert main(["report", str(run), "--out", str(corpus)]) == EXIT_USER
    assert "is no page of `ptm report`" in capsys.readouterr().err
    assert corpus.read_text(encoding="utf-8") == "1\ta text\n"
    page = run / "page.html"
    for _ in range(2):
        assert main(["report", str(run), "--out", str(page)]) == EXIT_DONE


def test_a_curve_is_constant_only_if_it_is_so_in_all_runs(tmp_path: Path) -> None:
    curves = []
    for name, values in (("flat", (0.5, 0.5)), ("steep", (0.5, 0.9))):
        found = [
            {"step": step, "split": "dev", "loss": 1.0, "f1": value}
            for step, value in enumerate(values, start=1)
        ]
        curves.append(run_curves(write_run(tmp_path / name, records=found)))
    (chart,) = charts_of(curves)
    assert (chart.metric, [line.name for line in chart.lines]) == ("f1", ["flat dev", "steep dev"])
    assert charts_of(curves[:1]) == []


def test_a_curve_with_the_shape_of_another_one_is_left_out(tmp_path: Path) -> None:
    def titles(factor: float) -> list[str]:
        found = [
            {
                "step": step,
                "split": "train",
                "loss": 1.0,
                "tokens_per_second": 100.0 * step,
                "model_tflops": 0.5 * step * (factor if step == 3 else 1.0),
            }
            for step in (1, 2, 3)
        ]
        run = write_run(tmp_path / f"run-{factor}", records=found)
        return [chart.metric for chart in charts_of([run_curves(run)])]

    assert titles(1.01) == ["tokens_per_second"]
    assert titles(1.5) == ["tokens_per_second", "model_tflops"]


def shown_lines(folder: Path, records: list[dict[str, Any]]) -> dict[str, list[str]]:
    """The names of the lines of each chart."""
    charts = charts_of([run_curves(write_run(folder, records=records))])
    return {chart.metric: [line.name for line in chart.lines] for chart in charts}


def test_a_series_with_one_point_has_a_line_and_a_legend_entry(tmp_path: Path) -> None:
    records = [
        {"step": 92, "split": "train", "loss": 2.0},
        {"step": 100, "split": "eval", "loss": 1.5, "mlm_accuracy": 0.25},
    ]
    shown = shown_lines(tmp_path / "one", records)
    assert shown == {"loss": ["train", "eval"], "mlm_accuracy": ["eval"]}
    keys = re.findall(r'class="keys">(.*?)</div>', report_page([tmp_path / "one"]))
    assert [re.findall(r"</svg>(\w+)<b>", key) for key in keys] == [["train", "eval"], ["eval"]]


def test_a_curve_that_repeats_another_one_but_for_rounding_is_left_out(tmp_path: Path) -> None:
    def shown(name: str, third: float) -> list[str]:
        records = [
            {
                "step": step,
                "split": "dev",
                "loss": 1.0 + 1e-9 * step,
                "accuracy": accuracy,
                "micro_f1": f1,
            }
            for step, accuracy, f1 in (
                (1, 0.47999998927116394, 0.48),
                (2, 0.5, 0.5),
                (3, 0.52, third),
            )
        ]
        return list(shown_lines(tmp_path / name, records))

    assert shown("same", 0.52) == ["accuracy"], "the loss is constant but for rounding"
    assert shown("other", 0.5201) == ["accuracy", "micro_f1"]


def test_gpus_with_equal_values_are_all_shown(tmp_path: Path) -> None:
    records = [
        {
            "step": step,
            "split": "train",
            "loss": 1.0,
            **{f"system/a/gpu{gpu}_percent": 90.0 + step for gpu in (0, 1)},
        }
        for step in (1, 2)
    ]
    assert shown_lines(tmp_path / "one", records) == {"gpu_percent": ["a 0", "a 1"]}


def test_the_memory_of_a_host_is_one_curve(tmp_path: Path) -> None:
    total, used = 256e9, (3.83e9, 4.22e9, 4.35e9)
    records = [
        {
            "step": step,
            "split": "train",
            "loss": 1.0,
            "system/a/memory_percent": round(100 * value / total, 1),
            "system/a/memory_used_bytes": value,
        }
        for step, value in enumerate(used, start=1)
    ]
    assert shown_lines(tmp_path / "one", records) == {"memory_used_bytes": ["a"]}
    for record in records:
        del record["system/a/memory_used_bytes"]
    assert shown_lines(tmp_path / "two", records) == {"memory_percent": ["a"]}


@pytest.mark.parametrize(
    ("override", "result"),
    [
        (
            "checkpoint.best=mlm_accuracy",
            "best eval mlm accuracy 0.3000 at step 20; last 0.2000 at step 30 · "
            "eval loss 1.5000 at step 30; best 1.0000 at step 10",
        ),
        (
            "train.early_stopping={metric: mlm_accuracy}",
            "best eval mlm accuracy 0.3000 at step 20; last 0.2000 at step 30 · "
            "eval loss 1.5000 at step 30; best 1.0000 at step 10",
        ),
        ("checkpoint.best=loss", "best eval loss 1.0000 at step 10; last 1.5000 at step 30"),
        ("checkpoint.best=null", "eval loss 1.5000 at step 30; best 1.0000 at step 10"),
    ],
)
def test_the_result_begins_with_the_metric_of_the_best_checkpoint(
    tmp_path: Path, override: str, result: str
) -> None:
    # The evaluation before the first step, as of a warm start, chooses no checkpoint.
    values = ((0, 2.0, 0.9), (10, 1.0, 0.1), (20, 1.2, 0.3), (30, 1.5, 0.2))
    records = [
        {"step": step, "split": "eval", "loss": loss, "mlm_accuracy": accuracy}
        for step, loss, accuracy in values
    ]
    page = report_page([write_run(tmp_path / "one", override, records=records)])
    assert f"<dt>Result</dt><dd>{result}</dd>" in page
