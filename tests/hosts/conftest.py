"""Two hosts for a session, and runs of one process to compare theirs with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.hosts.two_hosts import TwoHosts, two_hosts, why_not

# Fixtures: a store of the bundled corpus, small trainings in this process.
from tests.train.conftest import _one_thread, calm, store

__all__ = ["_one_thread", "calm", "store"]


@pytest.fixture(scope="session")
def hosts() -> Iterator[TwoHosts]:
    """Two hosts, or a skip that says why there are none."""
    if torch.cuda.is_available():
        pytest.skip("two hosts of one machine would share its GPU, which NCCL refuses")
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with two_hosts() as made:
        yield made
