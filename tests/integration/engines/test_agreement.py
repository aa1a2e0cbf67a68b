"""An error on one rank, or in the layout of ranks, ends all ranks with the same message."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ptm.errors import EXIT_USER
from tests.integration.engines.trainings import IN_USE, REFUSED, WRONG_ON_ONE_RANK
from tests.support.launched import Launch, Training, ranks_by_hand

SAID = {
    "another-seed": "the recipe here differ",
    "a-seed-that-is-no-number": "seed",
    "no-store": "/nowhere/at/all",
}


@pytest.mark.parametrize("name", WRONG_ON_ONE_RANK)
def test_an_error_on_one_rank_ends_both(two_ranks: Launch, name: str) -> None:
    assert two_ranks.codes(name) == [[EXIT_USER, EXIT_USER]]
    ((first, second),) = two_ranks.ended(name)
    assert first.said == second.said
    assert first.said.startswith(f"rank 1 on {socket.gethostname()}: ")
    assert SAID[name] in first.said
    assert not (two_ranks.runs / name / "recipe.yaml").exists()


def test_a_run_folder_in_use_ends_both(two_ranks: Launch) -> None:
    assert two_ranks.codes(IN_USE) == [[EXIT_USER, EXIT_USER]]
    ((first, second),) = two_ranks.ended(IN_USE)
    assert first.said == second.said
    assert "is in use by process 1 on somewhere" in first.said


def test_two_ranks_print_an_error_once(store: Path, tmp_path: Path) -> None:
    """The same through the command line, where one rank prints the message for both."""
    right = Training("wrong", ("engine.deepspeed=zero1",), on_rank_1=("data.store=/nowhere",))
    arguments = [right.arguments(store, tmp_path / "runs", rank=rank) for rank in range(2)]
    (code, said), (other_code, other_said) = ranks_by_hand(arguments, folder=tmp_path)
    assert (code, other_code) == (EXIT_USER, EXIT_USER), said + other_said
    sentences = [line for line in (said + other_said).splitlines() if line.startswith("ptm: ")]
    assert len(sentences) == 1, said + other_said
    assert sentences[0] in said
    assert sentences[0].startswith(f"ptm: rank 1 on {socket.gethostname()}: ")
    assert "Traceback" not in said + other_said


SENTENCES = {
    "uneven": ("train.global_batch_size = 7 does not divide over 2", "set it to 6 or 8"),
    "too-many-stages": ("engine.pipeline_stages = 3: 2 ranks cannot", "a multiple of 3"),
    "pipeline-with-zero2": ("cannot be combined with ZeRO stage 2", "Pipelines run with ZeRO 1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_all_ranks_reject_an_impossible_layout(two_ranks: Launch, name: str) -> None:
    assert two_ranks.codes(name) == [[EXIT_USER, EXIT_USER]]
    ((first, second),) = two_ranks.ended(name)
    assert first.said == second.said
    assert all(words in first.said for words in SENTENCES[name]), first.said
    assert not (two_ranks.runs / name).exists()


@pytest.mark.parametrize("name", REFUSED)
def test_an_error_on_all_ranks_names_no_rank(two_ranks: Launch, name: str) -> None:
    ((first, _),) = two_ranks.ended(name)
    assert not first.said.startswith("rank 0 on ")
