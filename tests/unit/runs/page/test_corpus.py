"""What the page says about the data of a run."""

from __future__ import annotations

import json
import re
from pathlib import Path

from ptm.recipe.origin import RecipeOrigin
from ptm.runs.page.corpus import data_overview, data_section, progress_of, stores_of
from ptm.store.format import read_manifest
from ptm.train.environment import environment
from tests.support.run_folders import write_run
from tests.support.small_runs import store

__all__ = ["store"]

LOG = "x INFO data: 1,000 rows per epoch (99.8 % real tokens), 2 epochs in 40 steps\n"
RECORDS = [
    {
        "step": 40,
        "split": "train",
        "rows": 2500,
        "loss": 1.0,
        "share/web": 0.75,
        "share/poems": 0.25,
    }
]


def test_the_section_has_the_counts_of_the_store(store: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "one", f"data.store={store}", records=RECORDS, log=LOG)
    info = json.loads((store / "store.json").read_text(encoding="utf-8"))
    documents = sum(shard["documents"] for shard in info["shards"])
    section = data_section(run)
    for text in (f"{documents:,}", "2,500", "1,000", "2.50", "99.8 %", "0.00 %", "english.txt"):
        assert f">{text}<" in section
    # The bars of the histogram have every document once.
    bars = section.split("Tokens per document")[1].split("</table>")[0]
    counts = [int(one.replace(",", "")) for one in re.findall(r"<td>([\d,]+)</td></tr>", bars)]
    assert sum(counts) == documents
    assert section.index("75.0 %") < section.index("25.0 %"), "the largest source is first"


def test_a_store_that_was_removed_is_named_without_numbers(tmp_path: Path) -> None:
    run = write_run(tmp_path / "one", "data.store=gone", records=RECORDS)
    (found,) = stores_of(run)
    assert (found.folder, found.info) == ("gone", None)
    section = data_section(run)
    assert "The store is not on this machine." in section
    assert "epochs read" not in section, "the log has no rows per epoch"


def test_a_store_that_is_written_again_is_read_again(store: Path, tmp_path: Path) -> None:
    place = tmp_path / "store"
    place.mkdir()
    run = write_run(tmp_path / "one", f"data.store={place}", records=RECORDS)
    assert stores_of(run)[0].info is None
    for file in store.iterdir():
        if file.is_file():
            (place / file.name).write_bytes(file.read_bytes())
    assert stores_of(run)[0].info is not None


def test_a_store_with_other_content_than_at_the_start_is_named(store: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "one", f"data.store={store}", records=RECORDS)
    for fingerprint, is_named in ((read_manifest(store).fingerprint, False), ("0" * 32, True)):
        content = environment(fingerprint, {"here": 1}, RecipeOrigin())
        (run / "environment.json").write_text(json.dumps(content), encoding="utf-8")
        assert ("was written again" in data_section(run)) == is_named


def test_several_runs_have_a_row_each(store: Path, tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / name, f"data.store={path}", records=RECORDS, log=LOG)
        for name, path in (("one", str(store)), ("two", "gone"))
    ]
    _, _, one, two = data_overview(runs).split("<tr>")
    assert "2.50" in one
    assert "<td>0.00 %</td>" in one
    assert "not on this machine" in two


def test_a_run_without_reports_has_read_nothing(tmp_path: Path) -> None:
    progress = progress_of(write_run(tmp_path / "one"))
    assert (progress.rows, progress.epochs) == (0, None)
