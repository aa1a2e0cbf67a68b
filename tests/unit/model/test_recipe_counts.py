"""Recipes of ALBERT, RealFormer, ModernBERT and classifiers have the published parameter counts."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    AlbertConfig,
    AlbertForPreTraining,
    AlbertModel,
    BertConfig,
    BertForSequenceClassification,
    ModernBertConfig,
    ModernBertForMaskedLM,
)

from ptm.model.build import build_plan
from tests.unit.model.counting import counted, recipe_of, size_of

# Vocabulary sizes, and millions of parameters, from the papers.
ALBERT_WORDS, MODERNBERT_WORDS = 30_000, 50_368
WORDS = 21_128
ALBERT = {"base": 12, "large": 18, "xlarge": 60, "xxlarge": 235}
MODERNBERT = {"base": 149, "large": 395}


@pytest.mark.parametrize(("size", "millions"), ALBERT.items())
def test_albert_has_as_many_parameters_as_transformers_and_about_as_published(
    size: str, millions: int
) -> None:
    recipe = recipe_of(f"albert/{size}")
    encoder = recipe.model.encoder.model_dump()
    config = AlbertConfig(
        vocab_size=ALBERT_WORDS,
        embedding_size=128,
        hidden_size=encoder["hidden_size"],
        num_hidden_layers=encoder["layers"],
        num_attention_heads=encoder["heads"],
        intermediate_size=encoder["feed_forward_size"],
    )
    with torch.device("meta"):
        whole, bare = AlbertForPreTraining(config), AlbertModel(config)
    assert counted(recipe, ALBERT_WORDS) == size_of(whole) + 128, "one more segment row"
    assert size_of(bare) / 1e6 == pytest.approx(millions, rel=0.06)


@pytest.mark.parametrize(("size", "millions"), MODERNBERT.items())
def test_modernbert_has_as_many_parameters_as_transformers_and_as_published(
    size: str, millions: int
) -> None:
    recipe = recipe_of(f"modernbert/{size}")
    encoder = recipe.model.encoder.model_dump()
    config = ModernBertConfig(
        vocab_size=MODERNBERT_WORDS,
        hidden_size=encoder["hidden_size"],
        num_hidden_layers=encoder["layers"],
        num_attention_heads=encoder["heads"],
        intermediate_size=encoder["feed_forward_size"],
    )
    with torch.device("meta"):
        theirs = ModernBertForMaskedLM(config)
    assert counted(recipe, MODERNBERT_WORDS) == size_of(theirs)
    assert size_of(theirs) / 1e6 == pytest.approx(millions, abs=1)


@pytest.mark.parametrize("size", ["tiny", "base"])
def test_realformer_has_the_same_parameters_as_bert(size: str) -> None:
    ours, bert = (recipe_of(f"{family}/{size}") for family in ("realformer", "roberta"))
    ours_shapes, bert_shapes = (
        build_plan(one.model, one.objective, vocabulary_size=21128).parameter_shapes
        for one in (ours, bert)
    )
    assert ours_shapes == bert_shapes


@pytest.mark.parametrize(("size", "millions"), {"tiny": 3.18, "base": 102.27}.items())
def test_a_classifier_is_an_encoder_with_pooler_and_an_output_layer(
    size: str, millions: float
) -> None:
    recipe = recipe_of(f"classification/transformer-{size}")
    encoder = recipe.model.encoder.model_dump()
    config = BertConfig(
        vocab_size=WORDS,
        hidden_size=encoder["hidden_size"],
        num_hidden_layers=encoder["layers"],
        num_attention_heads=encoder["heads"],
        intermediate_size=encoder["feed_forward_size"],
    )
    with torch.device("meta"):
        theirs = BertForSequenceClassification(config)
    segment = encoder["hidden_size"]
    assert counted(recipe, WORDS) == size_of(theirs) + segment, "one more segment row"
    assert size_of(theirs.bert) / 1e6 == pytest.approx(millions, abs=0.01)
    assert recipe.optimizer.learning_rate == 2e-5


def test_the_lstm_classifier_has_the_size_and_rate_of_the_seeds() -> None:
    recipe = recipe_of("classification/lstm")
    lstm = 2 * 4 * (2 * 512**2 + 2 * 512)
    head = 512**2 + 512 + 2 * 512 + 2
    assert counted(recipe, WORDS) == WORDS * 512 + lstm + head
    assert recipe.optimizer.learning_rate == 1e-3
