"""An error on one rank, or in the layout of ranks, ends all ranks with the same message."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ptm.errors import EXIT_USER
from tests.integration.engines.trainings import IN_USE, INVALID, INVALID_ON_ONE_RANK
from tests.support.launched import Launch, Training, ranks_by_hand

EXPECTED = {
    "another-seed": "different from rank 0: the recipe",
    "a-seed-that-is-no-number": "seed",
    "no-store": "/nowhere/at/all",
}


@pytest.mark.parametrize("name", INVALID_ON_ONE_RANK)
def test_an_error_on_one_rank_ends_both(two_ranks: Launch, name: str) -> None:
    assert two_ranks.codes(name) == [[EXIT_USER, EXIT_USER]]
    ((first, second),) = two_ranks.ended(name)
    assert first.message == second.message
    assert first.message.startswith(f"rank 1 on {socket.gethostname()}: ")
    assert EXPECTED[name] in first.message
    assert not (two_ranks.runs / name / "recipe.yaml").exists()


def test_a_run_folder_in_use_ends_both(two_ranks: Launch) -> None:
    assert two_ranks.codes(IN_USE) == [[EXIT_USER, EXIT_USER]]
    ((first, second),) = two_ranks.ended(IN_USE)
    assert first.message == second.message
    assert "is in use by process 1 on somewhere" in first.message


def test_two_ranks_print_an_error_once(store: Path, tmp_path: Path) -> None:
    """The same through the command line, where one rank prints the message for both."""
    right = Training("wrong", ("engine.deepspeed=zero1",), on_rank_1=("data.store=/nowhere",))
    arguments = [right.arguments(store, tmp_path / "runs", rank=rank) for rank in range(2)]
    (code, message), (other_code, other_message) = ranks_by_hand(arguments, folder=tmp_path)
    assert (code, other_code) == (EXIT_USER, EXIT_USER), message + other_message
    sentences = [
        line for line in (message + other_message).splitlines() if line.startswith("ptm: ")
    ]
    assert len(sentences) == 1, message + other_message
    assert sentences[0] in message
    assert sentences[0].startswith(f"ptm: rank 1 on {socket.gethostname()}: ")
    assert "Traceback" not in message + other_message


SENTENCES = {
    "uneven": ("train.global_batch_size = 7 is not a multiple of the 2", "Set it to 6 or 8"),
    "too-many-stages": (
        "engine.pipeline_stages = 3: 2 ranks do not divide",
        "Start a multiple of 3",
    ),
    "pipeline-with-zero2": ("cannot be combined with ZeRO stage 2", "Pipeline stages need ZeRO 1"),
}


@pytest.mark.parametrize("name", INVALID)
def test_all_ranks_reject_an_impossible_layout(two_ranks: Launch, name: str) -> None:
    assert two_ranks.codes(name) == [[EXIT_USER, EXIT_USER]]
    ((first, second),) = two_ranks.ended(name)
    assert first.message == second.message
    assert all(words in first.message for words in SENTENCES[name]), first.message
    assert not (two_ranks.runs / name).exists()


@pytest.mark.parametrize("name", INVALID)
def test_an_error_on_all_ranks_names_no_rank(two_ranks: Launch, name: str) -> None:
    ((first, _),) = two_ranks.ended(name)
    assert not first.message.startswith("rank 0 on ")
