"""What is wrong on one rank, or for this many of them, ends all of them with one sentence."""

from __future__ import annotations

import fcntl
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from ptm.errors import EXIT_USER
from tests.integration.engines.trainings import REFUSED
from tests.support.launched import Launch, Training, ranks_by_hand

PLAIN = Training("refused", ("engine.deepspeed=zero1",))
ABSENT = "data.store=/nowhere/at/all"


def refused_by_both(folder: Path, arguments: list[list[str]]) -> str:
    """The one sentence with which both ranks end."""
    (first, said), (second, echoed) = ranks_by_hand(arguments, folder=folder)
    assert (first, second) == (EXIT_USER, EXIT_USER), said + echoed
    sentences = [line for line in (said + echoed).splitlines() if line.startswith("ptm: ")]
    assert len(sentences) == 1, said + echoed
    assert sentences[0] in said
    assert "Traceback" not in said + echoed
    return sentences[0]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        pytest.param("seed=8", "the recipe here differ", id="another seed"),
        pytest.param("seed=x", "seed", id="a seed that is none"),
        pytest.param(ABSENT, "/nowhere/at/all", id="no store"),
    ],
)
def test_what_is_wrong_on_one_rank_ends_both(
    store: Path, tmp_path: Path, wrong: str, sentence: str
) -> None:
    arguments = PLAIN.arguments(store, tmp_path / "runs")
    other = replace(PLAIN, overrides=(*PLAIN.overrides, wrong))
    said = refused_by_both(tmp_path, [arguments, other.arguments(store, tmp_path / "runs")])
    assert said.startswith(f"ptm: rank 1 on {socket.gethostname()}: ")
    assert sentence in said
    assert not (tmp_path / "runs" / "refused" / "recipe.yaml").exists()


def test_a_run_folder_in_use_ends_both(store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "refused"
    folder.mkdir(parents=True)
    with (folder / "lock").open("w") as lock:
        lock.write("process 1 on somewhere")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        said = refused_by_both(tmp_path, [PLAIN.arguments(store, tmp_path / "runs")] * 2)
    assert "is in use by process 1 on somewhere" in said


SENTENCES = {
    "uneven": ("train.global_batch_size = 7 does not divide over 2", "set it to 6 or 8"),
    "too-many-stages": ("engine.pipeline_stages = 3: 2 ranks cannot", "a multiple of 3"),
    "pipeline-with-zero2": ("cannot be combined with ZeRO stage 2", "Pipelines run with ZeRO 1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_layout_that_cannot_be_is_refused_by_all_ranks(two_ranks: Launch, name: str) -> None:
    assert two_ranks.codes(name) == [[EXIT_USER, EXIT_USER]]
    ((first, second),) = two_ranks.ended(name)
    assert first.said == second.said
    assert all(words in first.said for words in SENTENCES[name]), first.said
    assert not (two_ranks.runs / name).exists()


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_everywhere_is_no_single_ranks_fault(two_ranks: Launch, name: str) -> None:
    ((first, _),) = two_ranks.ended(name)
    assert not first.said.startswith("rank 0 on ")
