"""The token stores of a recipe: found by split, opened, and checked against the recipe."""

from __future__ import annotations

from ptm.errors import UserError
from ptm.loading.index import TRAIN
from ptm.recipe import DataRecipe
from ptm.recipe.data_block import UNNAMED, StoreInput
from ptm.recipe.input_files import OF_PREPROCESSING, check_files, naming
from ptm.store.preprocess import Preprocessing
from ptm.store.reader import TokenStore
from ptm.text.corpus import find_corpus, recognise
from ptm.text.labels import MultiLabelSet
from ptm.text.tags import TagSet
from ptm.text.tokenizers import Tokenizer
from ptm.text.vocabulary import Vocabularies


def preprocessing_of(recipe: DataRecipe, one: StoreInput) -> Preprocessing:
    """Return how a store of the recipe is made.

    Raises UserError if a file that the recipe names is missing, or a format cannot be read.
    """
    check_files(recipe, OF_PREPROCESSING)
    with naming(recipe, one.corpus_key):
        files = find_corpus(one.corpus_patterns, field=one.corpus_key)
    return Preprocessing(
        corpus=recognise(files, recipe.data.layout, one.reading),
        layout=recipe.data.layout,
        tokenizer=recipe.tokenizer,
        segmenter=recipe.data.segmenter,
        sentence_splitting=recipe.data.sentence_splitting,
        target_tokenizer=recipe.target_tokenizer,
        labels=recipe.objective.label_set,
    )


def open_store(
    recipe: DataRecipe, tokenizer: Tokenizer, *, split: str = TRAIN, source: str = UNNAMED
) -> TokenStore:
    """Open the store of a split. Raises UserError if it was not made for this recipe."""
    found = store_of(recipe, split, source)
    key = found.store_key
    store = TokenStore.open(found.store, key=key)
    info = store.info
    if info.tokenizer != tokenizer.fingerprint:
        raise UserError(
            f'{key}: "{store.folder}" was made with another tokenizer or vocabulary '
            f"({info.vocabulary_size} tokens) than {recipe.tokenizer.source} "
            f"({tokenizer.vocabulary.size} tokens). Correct {key}, or create a new store with "
            "`ptm preprocess RECIPE`."
        )
    _check_targets(recipe, store, key=key)
    if info.layout != recipe.data.layout:
        raise UserError(
            f'{key}: "{store.folder}" has layout {info.layout}, but the recipe has data.layout: '
            f"{recipe.data.layout}. Correct {key} or data.layout."
        )
    _check_labels(recipe, store, key=key)
    obstacle = recipe.objective.store_obstacle(info.report)
    if obstacle is not None:
        raise UserError(f'{key}: "{store.folder}": {obstacle}')
    if recipe.objective.needs_word_starts and not info.has_word_starts:
        raise UserError(
            f'{key}: "{store.folder}" was made without word starts, which whole-word masking '
            "needs. Set data.segmenter and run `ptm preprocess RECIPE` with another "
            f"{key} or with --fresh."
        )
    splits = info.layout == "documents" and recipe.objective.needs_sentences
    if splits and not info.sentence_splitting:
        raise UserError(
            f'{key}: "{store.folder}" was made without sentence splitting, which objective '
            f"{recipe.objective.type} needs. Set data.sentence_splitting: true and run "
            f"`ptm preprocess RECIPE` with another {key} or with --fresh."
        )
    recipe.objective.check_vocabulary(tokenizer.vocabulary, recipe.row_size)
    return store


def _check_labels(recipe: DataRecipe, store: TokenStore, *, key: str) -> None:
    """Raise UserError if the store was made with other labels, or another scheme of tags."""
    labels, made = recipe.objective.label_set, tuple(store.info.labels or ())
    if labels is not None and labels.names != made:
        raise UserError(
            f'{key}: "{store.folder}" was made with the labels [{", ".join(made)}], but the recipe '
            f"has objective.labels: {labels}. Correct objective.labels or {key}, or create a new "
            "store with `ptm preprocess RECIPE`."
        )
    if isinstance(labels, MultiLabelSet) != (store.info.label_separator is not None):
        one, other = "one label for each text", "any number of labels for each text"
        if isinstance(labels, MultiLabelSet):
            one, other = other, one
        raise UserError(
            f'{key}: "{store.folder}" was made with {other}, but objective.type = '
            f"{recipe.objective.type} needs {one}. Correct {key}, or create a new store with "
            "`ptm preprocess RECIPE`."
        )
    scheme = labels.scheme if isinstance(labels, TagSet) else None
    if scheme != store.info.tag_scheme:
        raise UserError(
            f'{key}: "{store.folder}" was made with objective.scheme = {store.info.tag_scheme}, '
            f"but the recipe has {scheme}. Correct objective.scheme or {key}, or create a new "
            "store with `ptm preprocess RECIPE`."
        )


def _check_targets(recipe: DataRecipe, store: TokenStore, *, key: str) -> None:
    """Raise UserError if the store's targets were made with another tokenizer."""
    info, config = store.info, recipe.target_tokenizer
    target = config.load(key="target_tokenizer") if config else None
    if target is not None:
        target.vocabulary.require(recipe.objective.special_roles)
    if info.target_tokenizer == (target.fingerprint if target else None):
        return
    made = (
        f"with another target tokenizer or vocabulary ({info.target_size} tokens)"
        if info.target_tokenizer
        else "without a target tokenizer"
    )
    named = (
        f"the recipe has target_tokenizer: {target.config.source} ({target.vocabulary.size} tokens)"
        if target
        else "the recipe has no target_tokenizer"
    )
    raise UserError(
        f'{key}: "{store.folder}" was made {made}, but {named}. Correct {key}, or create a new '
        "store with `ptm preprocess RECIPE`."
    )


def store_of(recipe: DataRecipe, split: str, source: str = UNNAMED) -> StoreInput:
    """Return the store of a split, of the named source `source` if there are any."""
    evaluation = recipe.data.evaluation_inputs.get(split)
    if evaluation is not None and evaluation.source is None:
        return evaluation.store
    return recipe.data.training_inputs[source]


def vocabularies_of(recipe: DataRecipe, tokenizer: Tokenizer) -> Vocabularies:
    """Return the vocabularies of source and target; `tokenizer` is that of the source."""
    target = recipe.target_tokenizer
    if target is None:
        return Vocabularies.shared(tokenizer.vocabulary)
    return Vocabularies(tokenizer.vocabulary, target.load(key="target_tokenizer").vocabulary)
