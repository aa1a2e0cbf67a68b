"""Whether a store was made from the corpus files that a recipe names now."""

from __future__ import annotations

import os
from collections.abc import Iterable

from ptm.errors import UserError
from ptm.recipe.data_block import StoreInput
from ptm.store.reader import TokenStore
from ptm.text.corpus import find_corpus
from ptm.text.corpus.remote import is_remote


def corpus_changes(stores: Iterable[tuple[StoreInput, TokenStore]]) -> list[str]:
    """A sentence for each store that was made from other files than the recipe names.

    Compares paths and sizes of local files, and reads none of them. A corpus that is not on this
    machine is not compared.
    """
    return [change for one, store in stores if (change := _change(one, store)) is not None]


def _change(one: StoreInput, store: TokenStore) -> str | None:
    patterns = [pattern for pattern in one.corpus_patterns if not is_remote(pattern)]
    try:
        files = find_corpus(patterns, field=one.corpus_key)
    except UserError:
        return None
    if not files:
        return None
    now = {os.path.realpath(file.path): file.bytes for file in files}
    made = {
        os.path.realpath(file["path"]): file["bytes"]
        for file in store.info.corpus
        if not is_remote(file["path"])
    }
    difference = _difference(now, made)
    if difference is None:
        return None
    return (
        f'{one.store_key}: "{store.folder}" was not made from the files of {one.corpus_key}: '
        f"{difference}. Run `ptm preprocess RECIPE --fresh`, or correct {one.corpus_key} or "
        f"{one.store_key}."
    )


def _difference(now: dict[str, int], made: dict[str, int]) -> str | None:
    for path, size in now.items():
        if path not in made:
            return f'its manifest does not name "{path}"'
        if made[path] != size:
            return f'"{path}" has {size:,} bytes, but had {made[path]:,} bytes'
    missing = next((path for path in made if path not in now), None)
    return None if missing is None else f'its manifest also names "{missing}"'
