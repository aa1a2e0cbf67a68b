"""`ptm dashboard`: its panels show what runs log, and it makes or updates what W&B has."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ptm.cli import main
from ptm.errors import EXIT_DONE, EXIT_USER
from ptm.recipe.data_block import SHARE
from ptm.runs.dashboard.panels import Panel, sections
from ptm.train.machine import GPU_VALUES, SYSTEM
from ptm.train.trackers import tracker_values
from tests.integration.trackers.reading import reports
from tests.support.small_runs import Runs

TITLES = ["Losses", "Evaluation", "Speed", "MFU", "Memory", "Data", "System"]


def panels() -> list[Panel]:
    return [panel for section in sections(["eval"]) for panel in section.panels]


def test_every_panel_shows_what_a_run_logs(runs: Runs) -> None:
    # A run on CPUs reports these values only with a peak rate and recomputed activations.
    measured = ("engine.peak_tflops=1", "engine.activation_checkpointing=true")
    sampled = ("tracking.system_every=0.05", "tracking.log_every=2")
    assert runs.train("shown", *measured, *sampled) == EXIT_DONE
    logged = {name for record in reports(runs.folder / "shown") for name in tracker_values(record)}
    # This machine has no GPU and the run no mixture: these names are those of the code.
    logged |= {f"{SYSTEM}/host/gpu0_{value}" for value in GPU_VALUES} | {f"{SHARE}/web"}
    for panel in panels():
        assert bool(panel.metrics) != (panel.pattern is not None), panel.title
        assert set(panel.metrics) <= logged, panel.title
        if panel.pattern is not None:
            assert any(re.fullmatch(panel.pattern, name) for name in logged), panel.title


def test_the_definition_has_all_sections_and_panels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "dashboard.json"
    arguments = ["--project", "P", "--entity", "E", "--sets", "eval", "news", "--out", str(out)]
    assert main(["dashboard", *arguments]) == EXIT_DONE
    written = json.loads(out.read_text(encoding="utf-8"))
    assert (written["entity"], written["project"]) == ("E", "P")
    config = written["workspace"]["spec"]["section"]["panelBankConfig"]
    assert [one["name"] for one in config["sections"]] == TITLES
    shown = [one["config"] for section in config["sections"] for one in section["panels"]]
    expected = [panel for section in sections(["eval", "news"]) for panel in section.panels]
    assert [one["chartTitle"] for one in shown] == [panel.title for panel in expected]
    assert [tuple(one.get("metrics", ())) for one in shown] == [one.metrics for one in expected]
    assert [one.get("metricRegex") for one in shown] == [
        panel.pattern and f"^{panel.pattern}$" for panel in expected
    ]
    assert {one["xAxis"] for one in shown} == {"step"}
    assert shown[0]["metrics"] == ["train/loss", "eval/loss", "news/loss"]
    grids = [one for one in written["report"]["spec"]["blocks"] if one["type"] == "panel-grid"]
    counts = [len(grid["metadata"]["panelBankSectionConfig"]["panels"]) for grid in grids]
    assert counts == [len(section.panels) for section in sections(["eval", "news"])]
    capsys.readouterr()
    again = tmp_path / "again.json"
    assert main(["dashboard", *arguments[:-1], str(again), "--print"]) == EXIT_DONE
    assert capsys.readouterr().out == again.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--project", ""], '--project "": must have 1 to 128 characters, and none of'),
        (["--project", "a/b"], '--project "a/b": must have 1 to 128 characters, and none of'),
        (["--project", "a", "--sets", ""], '--sets "": must have only a-z, A-Z, 0-9'),
    ],
)
def test_names_that_wandb_does_not_accept_are_errors(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dashboard", *words, "--print"]) == EXIT_USER
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"ptm: {message}")


class Account:
    """W&B's client and its GraphQL calls, which keep what is saved in memory."""

    default_entity = "me"

    def __init__(self) -> None:
        self.views: dict[str, dict[str, Any]] = {}

    def create_project(self, name: str, entity: str) -> None:
        pass

    def projects(self, entity: str) -> list[Any]:
        return [type("Project", (), {"name": "P"})()]

    def reports(self, path: str) -> list[Any]:
        assert path == "me/P"
        return [
            type("Saved", (), {"id": view["id"], "display_name": view["displayName"]})()
            for view in self.views.values()
            if view["type"] == "runs"
        ]

    def execute(self, api: object, query: object, variables: dict[str, Any]) -> dict[str, Any]:
        """Answer the calls that wandb-workspaces makes."""
        if "viewName" in variables:
            found = [v for v in self.views.values() if v["name"] == variables["viewName"]]
            return {"project": {"allViews": {"edges": [{"node": one} for one in found]}}}
        number = variables.get("id") or f"id{len(self.views)}"
        saved = {"createdAt": None, "updatedAt": None, **variables, "id": number}
        self.views[number] = saved
        project = {"name": "P", "entityName": "me"}
        return {"upsertView": {"view": {**saved, "project": project}, "inserted": True}}


def test_a_second_call_updates_what_the_first_has_made(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import wandb
    import wandb_workspaces.reports.v2.interface
    import wandb_workspaces.workspaces.interface
    import wandb_workspaces.workspaces.internal

    account = Account()
    reporting = wandb_workspaces.reports.v2.interface
    working = wandb_workspaces.workspaces
    monkeypatch.setattr(wandb, "login", lambda **options: True)
    monkeypatch.setattr(wandb, "Api", lambda **options: account)
    monkeypatch.setattr(reporting, "_get_api", lambda: account)
    for module in (reporting, working.internal):
        monkeypatch.setattr(module, "execute_graphql", account.execute)
    for module in (reporting, working.interface):
        monkeypatch.setattr(module, "get_app_url", lambda api: "https://wandb.example")
    for _ in range(2):
        assert main(["dashboard", "--project", "P"]) == EXIT_DONE
        assert [(one["type"], one["displayName"]) for one in account.views.values()] == [
            ("project-view", "ptm"),
            ("runs", "ptm"),
        ]
    addresses = capsys.readouterr().out.splitlines()
    assert addresses[0] == "https://wandb.example/me/P?nw=ptmdashboard"
    assert addresses[:2] == addresses[2:]


def test_without_a_login_there_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dashboard", "--project", "P"]) == EXIT_USER
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        "ptm: There is no W&B login on this machine. Run `wandb login`, or write the definition "
        "to a file with --out FILE.\n"
    )


def test_an_unreachable_server_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import wandb

    def unreachable(**options: object) -> None:
        raise ConnectionError("no route to host\nand more")

    monkeypatch.setattr(wandb, "login", lambda **options: True)
    monkeypatch.setattr(wandb, "Api", unreachable)
    assert main(["dashboard", "--project", "P"]) == EXIT_USER
    (line,) = capsys.readouterr().err.splitlines()
    assert "could not be saved at http://127.0.0.1:9: no route to host. Write" in line
