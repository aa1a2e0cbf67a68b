"""Make or update the workspace and the report of a project on W&B's server."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

from ptm.errors import UserError
from ptm.runs.dashboard.definition import TITLE, report_of, require_package, workspace_of

_TIMEOUT_SECONDS = 20


def publish(project: str, entity: str | None, evaluation_sets: Sequence[str]) -> tuple[str, str]:
    """Make or update both; return their addresses.

    Those of an earlier call are replaced, with what users have changed in them. Raises UserError if
    wandb-workspaces is missing, there is no login, or the server cannot be reached or declines.
    """
    require_package()
    import wandb

    wandb.setup(wandb.Settings(silent=True))
    _check_login()
    with _server_errors():
        api = wandb.Api(timeout=_TIMEOUT_SECONDS)
        owner = entity or api.default_entity
        if owner is None:
            raise UserError("W&B names no default entity for this account. Give --entity NAME.")
        api.create_project(project, owner)
        workspace = workspace_of(owner, project, evaluation_sets)
        workspace._internal_id = _workspace_id(owner, project, workspace._internal_name)
        workspace.save()
        report = report_of(owner, project, evaluation_sets)
        found = [one for one in api.reports(f"{owner}/{project}") if one.display_name == TITLE]
        report.id = found[0].id if found else ""
        report.save()
        return workspace.url, report.url


def _workspace_id(entity: str, project: str, name: str) -> str:
    """The id of the workspace that an earlier call has made; empty if absent."""
    from wandb_workspaces.workspaces import internal

    try:
        return str(internal.View.from_name(entity, project, name).id)
    except ValueError:
        # wandb-workspaces raises it for a workspace that does not exist.
        return ""


def _check_login() -> None:
    """Raise UserError if no API key is configured. Neither prompts nor uses the network."""
    import wandb

    advice = "Run `wandb login`, or write the definition to a file with --out FILE."
    try:
        found = wandb.login(prompt=False, verify=False)
    except Exception as error:
        raise UserError(f"The W&B login failed: {_first_line(error)} {advice}") from error
    if not found:
        raise UserError(f"There is no W&B login on this machine. {advice}")


@contextlib.contextmanager
def _server_errors() -> Iterator[None]:
    """Turn what W&B's client raises into one sentence."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        server = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")
        raise UserError(
            f"The dashboard could not be saved at {server}: {_first_line(error)} Write the "
            "definition to a file with --out FILE to look at it."
        ) from error


def _first_line(error: Exception) -> str:
    text: Any = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(" .")
    return f"{text}."
