"""Every family of encoder-decoders has micro-batches of automatic size."""

from __future__ import annotations

import pytest

from ptm.recipe import load_recipe
from ptm.train.inputs import open_inputs
from tests.conftest import Bundled
from tests.integration.engines.tiny_recipes import Files, bundled_files
from tests.support.small_runs import PROJECT


@pytest.fixture(scope="module")
def files(bundled: Bundled, tmp_path_factory: pytest.TempPathFactory) -> Files:
    return bundled_files(bundled, tmp_path_factory.mktemp("corpora"))


@pytest.mark.parametrize("family", ["t5", "t5-v1.1", "bart", "pegasus", "translation"])
@pytest.mark.parametrize(
    "others",
    [
        (),
        ("data.packing=false",),
        ("model.dropout=0.0", "engine.activation_checkpointing=true"),
    ],
    ids=" ".join,
)
def test_the_step_of_an_encoder_decoder_is_estimated(
    files: Files, family: str, others: tuple[str, ...]
) -> None:
    path = PROJECT / "recipes" / family / "tiny.yaml"
    files.preprocess(path)
    given = {word.partition("=")[0]: word for word in files.overrides(path)}
    given["train.micro_batch_size"] = "train.micro_batch_size=auto"
    inputs = open_inputs(load_recipe(str(path), [*given.values(), *others]))
    assert inputs.micro_batch is not None
    assert inputs.batch.micro_batch_size == inputs.micro_batch.rows == 8
    assert inputs.micro_batch.estimate > 0
