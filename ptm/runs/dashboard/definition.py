"""The objects of wandb-workspaces for a dashboard, and their JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ptm.errors import UserError
from ptm.runs.dashboard.panels import Panel, Section, sections

TITLE = "ptm"
"""The name of the workspace and of the report in their project."""

_VIEW = "nw-ptmdashboard-v"
"""W&B's internal name of the workspace, by which it is found again."""

_COLUMNS = 3
_WIDTH, _HEIGHT = 8, 6
"""Size of a panel of the report; a row is 24 wide."""


def require_package() -> None:
    """Raise UserError if wandb-workspaces is not installed."""
    try:
        import wandb_workspaces.reports.v2
        import wandb_workspaces.workspaces  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"ptm dashboard needs the package wandb-workspaces ({error}). Install it with: "
            "pip install -e '.[dashboard]'"
        ) from error


def workspace_of(entity: str, project: str, evaluation_sets: Sequence[str]) -> Any:
    """The workspace, which is not saved yet. Raises UserError without wandb-workspaces."""
    require_package()
    import wandb_workspaces.workspaces as ws

    made = ws.Workspace(
        entity=entity,
        project=project,
        name=TITLE,
        sections=[
            ws.Section(
                name=section.title,
                panels=[_plot(panel) for panel in section.panels],
                is_open=True,
                layout_settings=ws.SectionLayoutSettings(
                    columns=_COLUMNS, rows=-(-len(section.panels) // _COLUMNS)
                ),
            )
            for section in sections(evaluation_sets)
        ],
        settings=ws.WorkspaceSettings(x_axis="step"),
        auto_generate_panels=False,
    )
    made._internal_name = _VIEW
    return made


def report_of(entity: str, project: str, evaluation_sets: Sequence[str]) -> Any:
    """The report, which is not saved yet. Raises UserError without wandb-workspaces."""
    require_package()
    import wandb_workspaces.reports.v2 as wr

    blocks: list[Any] = [wr.TableOfContents()]
    for section in sections(evaluation_sets):
        blocks += [wr.H1(text=section.title), _grid(section)]
    return wr.Report(
        entity=entity,
        project=project,
        title=TITLE,
        description="The runs of this project, made by `ptm dashboard`.",
        blocks=blocks,
        width="fluid",
    )


def _grid(section: Section) -> Any:
    import wandb_workspaces.reports.v2 as wr

    across = 24 // _WIDTH
    return wr.PanelGrid(
        # Without a project it has the runs of the report's own. A named one is looked up online.
        runsets=[wr.Runset(name="Runs")],
        panels=[
            _plot(
                panel,
                wr.Layout(x=_WIDTH * (i % across), y=_HEIGHT * (i // across), w=_WIDTH, h=_HEIGHT),
            )
            for i, panel in enumerate(section.panels)
        ],
    )


def _plot(panel: Panel, layout: Any = None) -> Any:
    import wandb_workspaces.reports.v2 as wr

    place = {} if layout is None else {"layout": layout}
    return wr.LinePlot(
        title=panel.title,
        x="step",
        y=list(panel.metrics),
        metric_regex=None if panel.pattern is None else f"^{panel.pattern}$",
        log_y=panel.log_y or None,
        **place,
    )


def definition(entity: str, project: str, evaluation_sets: Sequence[str]) -> str:
    """What would be sent to W&B, as JSON: the specs of the workspace and of the report."""
    workspace = workspace_of(entity, project, evaluation_sets)._to_model()
    report = report_of(entity, project, evaluation_sets)._to_model()
    specs = {
        "workspace": {"name": workspace.display_name, "spec": _spec(workspace)},
        "report": {"title": report.display_name, "spec": _spec(report)},
    }
    return json.dumps({"entity": entity, "project": project, **specs}, indent=2)


def _spec(model: Any) -> Any:
    return json.loads(model.spec.model_dump_json(by_alias=True, exclude_none=True))
