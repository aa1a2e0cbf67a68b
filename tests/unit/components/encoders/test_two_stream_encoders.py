"""The encoders birnn, bilstm and bigru: torch's modules, one per direction, example by example."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from ptm.components.embeddings import EmbeddingConfig
from ptm.components.encoders import AnyEncoder, Encoder, encoder_types
from ptm.model.build import encoder_plan
from ptm.model.plain_model import PlainModel
from ptm.recipe.model_block import ModelBlock

THEIRS: dict[str, Callable[..., nn.RNNBase]] = {"birnn": nn.RNN, "bilstm": nn.LSTM, "bigru": nn.GRU}
WORDS, EMBEDDED, WIDTH, LAYERS = 40, 12, 16, 3
WEIGHTS = {
    "input_weight": "weight_ih",
    "state_weight": "weight_hh",
    "input_bias": "bias_ih",
    "state_bias": "bias_hh",
}
# Rows of several examples: with padding at the end, without, of one example, and only of padding.
EXAMPLE_IDS = torch.tensor(
    [
        [1, 1, 1, 2, 2, 3, 3, 3, 3, 0, 0],
        [1, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3],
        [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ]
)
EVERY = pytest.mark.parametrize("kind", THEIRS)


def encoder_of(kind: str, **options: Any) -> Encoder:
    given = {"type": kind, "hidden_size": WIDTH, "layers": LAYERS, **options}
    made: Encoder = TypeAdapter(AnyEncoder).validate_python(given)
    return made


def random_model(kind: str, **options: Any) -> PlainModel:
    """Embedding and encoder without a head."""
    torch.manual_seed(0)
    embedding = EmbeddingConfig(parts=("word",), layer_norm=False, size=EMBEDDED)
    block = ModelBlock(embedding=embedding, encoder=encoder_of(kind, **options))
    model = PlainModel(encoder_plan(block, vocabulary_size=WORDS)).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def stream_of_torch(
    model: PlainModel, kind: str, stream: str, *, bias: bool
) -> tuple[nn.RNNBase, dict[str, str]]:
    """torch's stack with the weights of one stream, and our name of each of its parameters."""
    made = THEIRS[kind](EMBEDDED, WIDTH // 2, LAYERS, batch_first=True, bias=bias)
    names = {
        f"{theirs}_l{layer}": f"encoder_{layer:02}.{stream}.{ours}"
        for layer in range(LAYERS)
        for ours, theirs in WEIGHTS.items()
        if bias or not ours.endswith("bias")
    }
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            parameter.copy_(model.get_parameter(names[name]))
    return made, names


def plain_hidden(
    forward: nn.RNNBase, backward: nn.RNNBase, vectors: Tensor, begin: int, end: int
) -> Tensor:
    """The output for one example (T, D): each direction by itself, the second on reversed text."""
    example = vectors[None, begin:end]
    return torch.cat((forward(example)[0], backward(example.flip(1))[0].flip(1)), dim=-1)[0]


def spans(row: Tensor) -> list[tuple[int, int]]:
    """The (begin, end) of each example of a row of ids."""
    places = [(row == number).nonzero()[:, 0].tolist() for number in row.unique() if number > 0]
    return [(at[0], at[-1] + 1) for at in places]


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@EVERY
def test_packed_rows_have_torchs_outputs_and_gradients_of_each_example(
    kind: str, bias: bool
) -> None:
    model = random_model(kind, bias=bias)
    forward, forward_names = stream_of_torch(model, kind, "forward_stream", bias=bias)
    backward, backward_names = stream_of_torch(model, kind, "backward_stream", bias=bias)
    table = model.get_parameter("word_embedding.weight").detach().clone().requires_grad_()
    ids = torch.randint(WORDS, EXAMPLE_IDS.shape)
    weights = torch.randn(*EXAMPLE_IDS.shape, WIDTH) * (EXAMPLE_IDS > 0)[..., None]
    found = model({"input_ids": ids, "example_ids": EXAMPLE_IDS})["hidden"]
    (found * weights).sum().backward()
    expected = torch.zeros_like(found)
    for row, numbers in enumerate(EXAMPLE_IDS):
        for begin, end in spans(numbers):
            output = plain_hidden(forward, backward, table[ids[row]], begin, end)
            (output * weights[row, begin:end]).sum().backward()
            expected[row, begin:end] = output.detach()
    torch.testing.assert_close(found * (EXAMPLE_IDS > 0)[..., None], expected, rtol=0, atol=1e-5)
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    torch.testing.assert_close(
        gradients.pop("word_embedding.weight"), table.grad, rtol=1e-5, atol=1e-5
    )
    for stack, names in ((forward, forward_names), (backward, backward_names)):
        for name, parameter in stack.named_parameters():
            mine = gradients.pop(names[name])
            torch.testing.assert_close(mine, parameter.grad, rtol=1e-5, atol=1e-5)
    assert not gradients, "every parameter has a counterpart"


@EVERY
def test_a_stage_can_send_the_output(kind: str) -> None:
    tensors = {"input_ids": torch.zeros_like(EXAMPLE_IDS), "example_ids": EXAMPLE_IDS}
    assert random_model(kind)(tensors)["hidden"].is_contiguous()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"hidden_size": 7}, ("hidden_size = 7", "each direction has half of it", "even number")),
        ({"visibility": "causal"}, ("visibility",)),
        ({"bidirectional": True}, ('unknown key "bidirectional"',)),
    ],
    ids=str,
)
@EVERY
def test_impossible_options_are_rejected(
    kind: str, options: dict[str, Any], words: tuple[str, ...]
) -> None:
    with pytest.raises(ValidationError) as error:
        encoder_of(kind, **options)
    for word in words:
        assert word in str(error.value)


def test_only_these_encoders_keep_the_directions_apart() -> None:
    apart = {name for name, one in encoder_types().items() if one.separate_directions}
    assert apart == set(THEIRS)


def test_a_relu_network_is_another_network() -> None:
    tensors = {"input_ids": torch.ones_like(EXAMPLE_IDS), "example_ids": EXAMPLE_IDS}
    tanh, relu = (
        random_model("birnn", nonlinearity=name)(tensors)["hidden"] for name in ("tanh", "relu")
    )
    assert bool((relu >= 0).all())
    assert bool((tanh < 0).any())
