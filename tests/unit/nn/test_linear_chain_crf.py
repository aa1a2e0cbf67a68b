"""The conditional random field against the enumeration of all paths of each chain."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product

import pytest
import torch
from torch import Tensor

from ptm.nn.linear_chain_crf import (
    FORBIDDEN,
    Chains,
    Transitions,
    crf_loss,
    marginals,
    viterbi,
)

TAGS = 3
_WORD, _FIRST, _LAST, _BEGINS, _ENDS = (1 << bit for bit in range(5))


@dataclass(frozen=True)
class Chain:
    """The cells of the words of one chain in a row, and whether it is a whole sentence."""

    row: int
    columns: tuple[int, ...]
    begins: bool = True
    ends: bool = True


# Two rows: chains of several lengths side by side, gaps between words, padding, parts of sentences.
CHAINS = (
    *(Chain(0, (1, 2, 4)), Chain(0, (7,)), Chain(0, (9, 10), ends=False)),
    *(Chain(1, (0, 3, 5, 6), begins=False), Chain(1, (8, 9), begins=False, ends=False)),
)
COLUMNS = 12


def chains() -> Chains:
    bits = torch.zeros(2, COLUMNS, dtype=torch.long)
    for one in CHAINS:
        for column in one.columns:
            bits[one.row, column] += _WORD
        bits[one.row, one.columns[0]] += _FIRST + _BEGINS * one.begins
        bits[one.row, one.columns[-1]] += _LAST + _ENDS * one.ends
    return Chains(*((bits & bit) > 0 for bit in (_WORD, _FIRST, _LAST, _BEGINS, _ENDS)))


def drawn(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Emissions, transitions and tags in double precision."""
    generator = torch.Generator().manual_seed(seed)
    emissions = torch.randn(2, COLUMNS, TAGS, generator=generator, dtype=torch.float64)
    transitions = torch.randn(TAGS + 2, TAGS, generator=generator, dtype=torch.float64)
    tags = torch.randint(TAGS, (2, COLUMNS), generator=generator)
    return emissions.requires_grad_(), transitions.requires_grad_(), tags


def score(path: tuple[int, ...], chain: Chain, emissions: Tensor, transitions: Tensor) -> Tensor:
    """The score of one path, term by term."""
    places = zip(path, chain.columns, strict=True)
    total = torch.stack([emissions[chain.row, column, tag] for tag, column in places]).sum()
    for before, after in pairwise(path):
        total = total + transitions[before, after]
    if chain.begins:
        total = total + transitions[TAGS, path[0]]
    return total + transitions[TAGS + 1, path[-1]] if chain.ends else total


def all_scores(
    chain: Chain, emissions: Tensor, transitions: Tensor
) -> dict[tuple[int, ...], Tensor]:
    paths = product(range(TAGS), repeat=len(chain.columns))
    return {path: score(path, chain, emissions, transitions) for path in paths}


@pytest.mark.parametrize("seed", [0, 1])
def test_loss_and_gradients_equal_those_of_all_paths(seed: int) -> None:
    emissions, transitions, tags = drawn(seed)
    loss = crf_loss(emissions, transitions, tags, chains())
    gradients = torch.autograd.grad(loss, [emissions, transitions])

    expected = torch.zeros((), dtype=torch.float64)
    for chain in CHAINS:
        scores = all_scores(chain, emissions, transitions)
        given = tuple(tags[chain.row, list(chain.columns)].tolist())
        expected = expected + torch.logsumexp(torch.stack(list(scores.values())), 0) - scores[given]
    torch.testing.assert_close(loss, expected)
    wanted = torch.autograd.grad(expected, [emissions, transitions])
    torch.testing.assert_close(gradients, wanted)


def test_autograd_is_the_numerical_gradient() -> None:
    emissions, transitions, tags = drawn(2)
    assert torch.autograd.gradcheck(
        lambda one, other: crf_loss(one, other, tags, chains()), (emissions, transitions)
    )


@pytest.mark.parametrize("seed", range(4))
def test_viterbi_finds_the_best_of_all_paths(seed: int) -> None:
    emissions, transitions, _ = drawn(seed)
    found = viterbi(emissions, transitions, chains())
    for chain in CHAINS:
        scores = all_scores(chain, emissions, transitions)
        best = max(scores, key=lambda path: scores[path].item())
        assert tuple(found[chain.row, list(chain.columns)].tolist()) == best
    assert (found[~chains().words] == 0).all()


def test_a_forbidden_transition_is_on_no_path() -> None:
    emissions, transitions, _ = drawn(5)
    forbidden = transitions.detach().clone()
    forbidden[0, 1] = forbidden[TAGS, 2] = forbidden[TAGS + 1, 0] = FORBIDDEN
    found = viterbi(emissions, forbidden, chains())
    for chain in CHAINS:
        path = tuple(found[chain.row, list(chain.columns)].tolist())
        assert (0, 1) not in set(pairwise(path))
        assert not (chain.begins and path[0] == 2)
        assert not (chain.ends and path[-1] == 0)
        allowed = all_scores(chain, emissions, forbidden)
        assert path == max(allowed, key=lambda one: allowed[one].item())


def test_rows_without_words_add_nothing() -> None:
    emissions, transitions, tags = drawn(6)
    none = Chains(*(torch.zeros(2, COLUMNS, dtype=torch.bool) for _ in range(5)))
    loss = crf_loss(emissions, transitions, tags, none)
    assert float(loss.detach()) == 0
    loss.backward()
    assert emissions.grad is not None
    assert (emissions.grad == 0).all()


def test_the_scores_keep_the_type_of_the_emissions() -> None:
    module = Transitions(TAGS)
    torch.nn.init.normal_(module.weight)
    found = module(torch.zeros(1, 1, TAGS, dtype=torch.bfloat16))
    assert (found.dtype, found.shape) == (torch.bfloat16, (TAGS + 2, TAGS))


@pytest.mark.parametrize("seed", [0, 1])
def test_marginals_equal_those_of_all_paths(seed: int) -> None:
    with torch.inference_mode():
        emissions, transitions, _ = (one.detach() for one in drawn(seed))
    found = marginals(emissions, transitions, chains())
    expected = torch.zeros_like(found)
    for chain in CHAINS:
        scores = all_scores(chain, emissions, transitions)
        likely = torch.stack(list(scores.values())).softmax(dim=0)
        for path, probability in zip(scores, likely, strict=True):
            for column, tag in zip(chain.columns, path, strict=True):
                expected[chain.row, column, tag] += probability
    assert torch.allclose(found, expected, atol=1e-12)
