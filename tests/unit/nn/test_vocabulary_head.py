"""The head scores masked positions only, with its own matrix or that of the word embedding."""

from __future__ import annotations

import pytest
import torch
from torch.nn import LayerNorm
from torch.nn import functional as F

from ptm.nn.embedding import WordEmbedding
from ptm.nn.heads import OutputBias, PredictedTransform, Unembedding
from ptm.nn.model_shape import ModelShape

SHAPE = ModelShape(
    vocabulary_size=11,
    embedding_size=6,
    hidden_size=8,
    positions=16,
    dropout=0.0,
    attention_dropout=0.0,
    activation="gelu",
    norm_epsilon=1e-12,
)


def test_only_the_masked_positions_are_transformed_in_their_order() -> None:
    torch.manual_seed(0)
    head, hidden = PredictedTransform(SHAPE), torch.randn(2, 5, 8)
    found = head(hidden, torch.tensor([7, 0, 7]))
    assert isinstance(head.norm, LayerNorm)
    chosen = torch.stack([hidden[1, 2], hidden[0, 0], hidden[1, 2]])
    expected = F.layer_norm(
        F.gelu(head.dense(chosen)), (6,), head.norm.weight, head.norm.bias, eps=1e-12
    )
    torch.testing.assert_close(found, expected)


def test_a_tied_matrix_embeds_and_scores_with_the_same_rows() -> None:
    words = WordEmbedding(SHAPE)
    torch.nn.init.normal_(words.weight)
    embedded = words(torch.tensor([[3, 10]]))
    assert torch.equal(embedded[0], words.weight[[3, 10]])
    scores = words(embedded[0], unembed=True)
    torch.testing.assert_close(scores, words.weight[[3, 10]] @ words.weight.T)


def test_an_untied_matrix_scores_every_token() -> None:
    head, hidden = Unembedding(SHAPE), torch.randn(4, 6)
    torch.nn.init.normal_(head.weight)
    torch.testing.assert_close(head(hidden), hidden @ head.weight.T)
    assert head.weight.shape == (11, 6)


@pytest.mark.parametrize("leaf", [True, False], ids=["leaf", "inner"])
def test_the_bias_is_added_and_gets_its_gradient(leaf: bool) -> None:
    """Tensors from another pipeline stage are leaves, which cannot be modified in place."""
    head = OutputBias(11)
    sent = torch.randn(3, 11, requires_grad=True)
    before = sent.detach().clone()
    found = head(sent if leaf else sent * 1.0)
    torch.testing.assert_close(found, before + head.bias)
    found.sum().backward()
    assert torch.equal(sent.detach(), before)
    assert sent.grad is not None
    assert head.bias.grad is not None
    assert torch.equal(head.bias.grad, torch.full((11,), 3.0))
