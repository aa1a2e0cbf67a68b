"""The loss of multiple choice against torch's cross entropy, question by question."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from ptm.nn.choices import choice_sums


def test_loss_hits_and_gradients_are_those_of_each_question_alone() -> None:
    torch.manual_seed(3)
    counts, answers, most = [2, 4, 3, 4, 2], [1, 0, 2, 3, 0], 4
    logits = torch.randn(sum(counts) + 3, requires_grad=True)
    numbers = torch.cat([torch.arange(1, n + 1) for n in counts] + [torch.zeros(3).long()])
    right = torch.cat(
        [F.one_hot(torch.tensor(a), n) for a, n in zip(answers, counts, strict=True)]
        + [torch.zeros(3).long()]
    )
    loss, hits = choice_sums(logits, numbers, right, most=most)
    (gradient,) = torch.autograd.grad(loss, logits)
    parts = logits[: sum(counts)].split(counts)
    expected = torch.stack(
        [F.cross_entropy(part, torch.tensor(a)) for part, a in zip(parts, answers, strict=True)]
    ).sum()
    (theirs,) = torch.autograd.grad(expected, logits)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient, theirs)
    assert int(hits) == sum(int(p.argmax()) == a for p, a in zip(parts, answers, strict=True))


def test_padding_alone_gives_nothing() -> None:
    logits = torch.zeros(4, requires_grad=True)
    nothing = torch.zeros(4).long()
    loss, hits = choice_sums(logits, nothing, nothing, most=3)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert (float(loss), float(hits), bool(gradient.any())) == (0.0, 0.0, False)
