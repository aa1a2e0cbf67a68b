from __future__ import annotations

from collections.abc import Callable

import pytest

from ptm.recipe import Recipe

Load = Callable[..., Recipe]
Changed = Callable[[str, str], str]
Refusal = Callable[..., str]


def test_both_steps_and_epochs_are_refused(error_of: Refusal, changed: Changed) -> None:
    sentence = error_of(text=changed("steps: 100", "steps: 100\n  epochs: 2"))
    assert "train: give either steps or epochs, and only one of them." in sentence


def test_neither_steps_nor_epochs_is_refused(error_of: Refusal, changed: Changed) -> None:
    sentence = error_of(text=changed("  steps: 100\n", ""))
    assert "recipe.yaml:24: train: give either steps or epochs" in sentence


def test_epochs_alone_are_enough(load: Load, changed: Changed) -> None:
    assert load(text=changed("steps: 100", "epochs: 2.5")).train.epochs == 2.5


def test_a_sequence_longer_than_the_positions_is_refused_with_both(
    error_of: Refusal, changed: Changed
) -> None:
    sentence = error_of(text=changed("sequence_length: 128", "sequence_length: 513"))
    assert "recipe.yaml:8: data.sequence_length: 513 is longer than" in sentence
    assert "model.embedding.positions = 512" in sentence


def test_a_sequence_as_long_as_the_positions_is_right(load: Load) -> None:
    assert load("data.sequence_length=512").data.sequence_length == 512


def test_rows_before_the_first_position_are_no_positions(load: Load, error_of: Refusal) -> None:
    table = ("model.embedding.positions=130", "model.embedding.position_offset=2")
    assert load("data.sequence_length=128", *table).data.sequence_length == 128
    sentence = error_of("data.sequence_length=129", *table)
    assert "129 is longer than model.embedding.positions = 130 less position_offset = 2" in sentence


def test_fewer_segments_than_an_example_has_texts_are_refused(
    load: Load, error_of: Refusal
) -> None:
    assert load("model.embedding.segments=1").model.embedding.segments == 1
    pairs = ("objective={type: albert}", "data.layout=sentences")
    assert load(*pairs).objective.segments == 2
    sentence = error_of("model.embedding.segments=1", *pairs)
    assert "model.embedding.segments: 1 is fewer than the 2 texts" in sentence
    assert "objective.type = albert" in sentence


def test_positions_without_a_table_have_no_end(load: Load) -> None:
    recipe = load("data.sequence_length=4096", "model.embedding.parts=[word, sinusoidal]")
    assert recipe.data.sequence_length == 4096


@pytest.mark.parametrize(
    "masking", ["{unit: whole_word}", "{unit: span, whole_words: true}"], ids=["words", "spans"]
)
def test_whole_words_without_a_segmenter_are_refused(error_of: Refusal, masking: str) -> None:
    sentence = error_of(f"objective.masking={masking}")
    assert "whole words need data.segmenter: {type: jieba}" in sentence


def test_whole_words_with_a_segmenter_are_right(load: Load) -> None:
    recipe = load("objective.masking={unit: whole_word}", "data.segmenter.type=jieba")
    assert recipe.objective.needs_word_starts


def test_a_segmenter_without_dictionaries_refuses_one(error_of: Refusal) -> None:
    sentence = error_of("data.segmenter={type: rjieba, dictionary: words.txt}")
    assert "data.segmenter: rjieba takes no user dictionary" in sentence


def test_an_empty_list_of_corpus_files_is_refused(error_of: Refusal) -> None:
    assert "data.corpus: is an empty list" in error_of("data.corpus=[]")


@pytest.mark.parametrize("warmup", ["100", "200", "0.999"])
def test_a_warm_up_as_long_as_the_training_is_refused(error_of: Refusal, warmup: str) -> None:
    assert "schedule.warmup: " in error_of(f"schedule.warmup={warmup}")


@pytest.mark.parametrize(("warmup", "steps"), [("0", 0), ("0.1", 10), ("1", 1), ("99", 99)])
def test_a_warm_up_is_a_share_below_one_and_else_steps(load: Load, warmup: str, steps: int) -> None:
    assert load(f"schedule.warmup={warmup}").schedule.warmup_steps(100) == steps


def test_a_broken_number_of_warm_up_steps_is_refused(error_of: Refusal) -> None:
    assert "1.5 is neither a share" in error_of("schedule.warmup=1.5")


def test_a_decay_that_begins_within_the_warm_up_is_refused(load: Load, error_of: Refusal) -> None:
    block = "schedule={{type: wsd, warmup: 0.25, decay: {}}}"
    assert load(block.format(75)).schedule.decay_steps(100) == 75
    sentence = error_of(block.format(76))
    assert "schedule.decay: 76 steps of decay and 25 of warm-up are more than" in sentence


def test_an_optimizer_of_rows_and_columns_is_not_cut_into_stages(error_of: Refusal) -> None:
    sentence = error_of("optimizer={type: adafactor}", "engine.pipeline_stages=2")
    assert "engine.pipeline_stages: 2 stages run with ZeRO 1" in sentence
    assert "set pipeline_stages: 1 and engine.deepspeed: zero0" in sentence


def test_early_stopping_without_evaluation_is_refused(error_of: Refusal) -> None:
    sentence = error_of("train.early_stopping={patience: 2}", "data.held_out=0")
    assert "train.early_stopping: needs something to evaluate on" in sentence


def test_early_stopping_on_what_is_not_measured_is_refused(error_of: Refusal) -> None:
    sentence = error_of("train.early_stopping.metric=nsp_accuracy")
    assert '"nsp_accuracy" is not measured here; choose one of loss, mlm_accuracy' in sentence


@pytest.mark.parametrize("kind", ["bert", "albert"])
def test_sentence_objectives_on_documents_need_them_split(error_of: Refusal, kind: str) -> None:
    sentence = error_of(f"objective={{type: {kind}}}")
    assert f"data.sentence_splitting: is false, but objective.type = {kind}" in sentence


@pytest.mark.parametrize("kind", ["bert", "albert"])
def test_sentence_objectives_read_sentences_and_split_documents(load: Load, kind: str) -> None:
    objective = f"objective={{type: {kind}}}"
    assert load(objective, "data.layout=sentences").objective.type == kind
    assert load(objective, "data.sentence_splitting=true").objective.type == kind


def test_lines_that_are_sentences_already_are_not_split(error_of: Refusal) -> None:
    sentence = error_of("data.layout=sentences", "data.sentence_splitting=true")
    assert "data.sentence_splitting: is for the layout documents" in sentence


def test_split_documents_suit_masked_tokens_too(load: Load) -> None:
    assert load("data.sentence_splitting=true").objective.type == "mlm"


def test_rows_without_room_for_a_pair_are_refused(error_of: Refusal) -> None:
    overrides = ("objective={type: bert}", "data.layout=sentences", "data.sequence_length=4")
    assert "Set 5 or more" in error_of(*overrides)


def test_a_target_tokenizer_for_texts_without_targets_is_refused(error_of: Refusal) -> None:
    sentence = error_of("target_tokenizer={type: wordpiece, vocab: other.txt}")
    assert "target_tokenizer: is for the targets of the layout pairs" in sentence


def test_words_of_pairs_are_not_asked_for(error_of: Refusal) -> None:
    sentence = error_of("data.layout=pairs", "data.segmenter.type=rjieba")
    assert (
        "data.segmenter: finds whole words to mask, which nothing in the layout pairs" in sentence
    )


TRANSLATION = (
    "objective={type: seq2seq}",
    "data.layout=pairs",
    "model.decoder={type: transformer, layers: 1, hidden_size: 16, heads: 2,"
    " feed_forward_size: 32}",
)


def test_two_vocabularies_in_one_table_are_refused(load: Load, error_of: Refusal) -> None:
    two = (*TRANSLATION, "target_tokenizer={type: wordpiece, vocab: other.txt}")
    sentence = error_of(*two)
    assert "model.target_embedding: shares the word vectors of model.embedding" in sentence
    assert load(*two, "model.target_embedding.shared=false").target_tokenizer is not None


def test_a_second_vocabulary_for_one_text_is_refused(error_of: Refusal) -> None:
    sentence = error_of(
        "objective={type: prefixlm}",
        "data.layout=pairs",
        "model.encoder.visibility=prefix",
        "target_tokenizer={type: wordpiece, vocab: other.txt}",
    )
    assert (
        "target_tokenizer: gives targets words of their own, but objective.type = pref" in sentence
    )


def test_a_target_longer_than_its_positions_is_refused(load: Load, error_of: Refusal) -> None:
    assert load(*TRANSLATION, "data.target_sequence_length=512").data.row_size.target == 512
    sentence = error_of(*TRANSLATION, "data.target_sequence_length=513")
    assert (
        "data.target_sequence_length: 513 is longer than model.embedding.positions = " in sentence
    )
    sentence = error_of(*TRANSLATION, "model.target_embedding.positions=100")
    assert "data.sequence_length: 128 is longer than model.target_embedding.positions" in sentence


def test_rows_of_a_decoder_that_is_not_there_are_refused(error_of: Refusal) -> None:
    sentence = error_of("data.target_sequence_length=64")
    assert "data.target_sequence_length: is of a decoder's rows" in sentence
