"""The encoders rnn, lstm and gru: their options, stacks as in torch, and initial weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from ptm.components.embeddings import EmbeddingConfig
from ptm.components.encoders import AnyEncoder, Encoder
from ptm.components.objectives.lm import Lm
from ptm.model.build import build_plan, encoder_plan
from ptm.model.initial_weights import InitialWeights
from ptm.model.plain_model import PlainModel, parameter_count
from ptm.plan import Plan
from ptm.recipe.model_block import ModelBlock

TYPES = ("rnn", "lstm", "gru")
THEIRS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
WORDS, EMBEDDED, WIDTH, LAYERS = 40, 12, 16, 3


def encoder_of(kind: str, **options: Any) -> Encoder:
    given = {"type": kind, "hidden_size": WIDTH, "layers": LAYERS, **options}
    made: Encoder = TypeAdapter(AnyEncoder).validate_python(given)
    return made


def block_of(kind: str, **options: Any) -> ModelBlock:
    embedding = EmbeddingConfig(parts=("word",), layer_norm=False, size=EMBEDDED)
    return ModelBlock(embedding=embedding, encoder=encoder_of(kind, **options))


def plan_of(block: ModelBlock) -> Plan:
    return build_plan(block, Lm(type="lm"), vocabulary_size=WORDS)


def random_model(block: ModelBlock) -> PlainModel:
    """Embedding and encoder without a head."""
    torch.manual_seed(0)
    model = PlainModel(encoder_plan(block, vocabulary_size=WORDS)).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


@pytest.mark.parametrize("bidirectional", [False, True], ids=["causal", "both"])
@pytest.mark.parametrize("kind", TYPES)
def test_the_stack_is_torchs(kind: str, bidirectional: bool) -> None:
    model = random_model(block_of(kind, bidirectional=bidirectional))
    size = WIDTH // 2 if bidirectional else WIDTH
    theirs = THEIRS[kind](
        EMBEDDED, size, LAYERS, batch_first=True, bidirectional=bidirectional, dropout=0.1
    ).eval()
    mine = [p for name, p in model.named_parameters() if name.startswith("encoder_")]
    with torch.no_grad():
        for one, other in zip(theirs.parameters(), mine, strict=True):
            one.copy_(other)
    ids = torch.randint(WORDS, (2, 9))
    tensors = {"input_ids": ids, "example_ids": torch.ones_like(ids)}
    expected = theirs(model.get_parameter("word_embedding.weight")[ids])[0]
    torch.testing.assert_close(model(tensors)["hidden"], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", TYPES)
def test_the_first_layer_reads_the_embedding_without_a_projection(kind: str) -> None:
    shapes = plan_of(block_of(kind)).parameter_shapes
    assert shapes["encoder_00.input_weight"][1] == EMBEDDED
    assert shapes["encoder_01.input_weight"][1] == WIDTH
    assert not [name for name in shapes if name.startswith("embedding.")]
    assert {name.partition(".")[0] for name in shapes} == {
        *("word_embedding", "lm_projection"),
        *(f"encoder_{index:02}" for index in range(LAYERS)),
    }


@pytest.mark.parametrize("kind", TYPES)
def test_without_biases_none_is_left(kind: str) -> None:
    names = list(plan_of(block_of(kind, bias=False)).parameter_shapes)
    assert names
    assert not [name for name in names if name.endswith("bias")]
    with_biases = parameter_count(plan_of(block_of(kind)))
    gates = {"rnn": 1, "lstm": 4, "gru": 3}[kind]
    without = parameter_count(plan_of(block_of(kind, bias=False)))
    assert with_biases - without == LAYERS * 2 * gates * WIDTH


def test_initial_matrices_are_drawn_and_biases_are_zero() -> None:
    block = block_of("lstm", bidirectional=True)
    weights = InitialWeights(plan_of(block), block, seed=1)
    for name in weights.names:
        value = weights[name]
        if name.endswith("bias"):
            assert not value.any(), name
        else:
            assert value.std() == pytest.approx(0.02, rel=0.3), name


@pytest.mark.parametrize("kind", TYPES)
def test_visibility_follows_bidirectional(kind: str) -> None:
    causal, both = encoder_of(kind), encoder_of(kind, bidirectional=True)
    assert (causal.visibility, both.visibility) == ("causal", "full")
    for encoder in (causal, both):
        again = TypeAdapter(AnyEncoder).validate_python(encoder.model_dump())
        assert again == encoder


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"visibility": "full"}, ("visibility = full", "bidirectional = false")),
        (
            {"visibility": "causal", "bidirectional": True},
            ("visibility = causal", "bidirectional = true"),
        ),
        ({"hidden_size": 7, "bidirectional": True}, ("hidden_size = 7", "even number")),
        ({"visibility": "prefix"}, ("visibility",)),
        ({"heads": 2}, ('unknown key "heads"',)),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", TYPES)
def test_contradicting_options_are_rejected(
    kind: str, options: dict[str, Any], words: tuple[str, ...]
) -> None:
    with pytest.raises(ValidationError) as error:
        encoder_of(kind, **options)
    for word in words:
        assert word in str(error.value)


def test_a_relu_network_is_another_network() -> None:
    torch.manual_seed(0)
    outputs = []
    ids = torch.randint(WORDS, (1, 5))
    tensors = {"input_ids": ids, "example_ids": torch.ones_like(ids)}
    for nonlinearity in ("tanh", "relu"):
        model = random_model(block_of("rnn", nonlinearity=nonlinearity))
        outputs.append(model(tensors)["hidden"])
    assert bool((outputs[1] >= 0).all())
    assert bool((outputs[0] < 0).any())
