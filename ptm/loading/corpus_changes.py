"""Whether a store was made from the corpus files that a recipe names now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from ptm.errors import UserError
from ptm.recipe.data_block import StoreInput
from ptm.store.reader import TokenStore
from ptm.text.corpus import find_corpus
from ptm.text.corpus.remote import is_remote


def corpus_changes(stores: Iterable[tuple[StoreInput, TokenStore]]) -> list[str]:
    """A sentence for each store that was made from other files than the recipe names.

    Compares names and sizes of local files, and reads none of them. A corpus that is not on this
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
    now = {file.path: file.bytes for file in files}
    made = {
        file["path"]: file["bytes"] for file in store.info.corpus if not is_remote(file["path"])
    }
    difference = _difference(now, made)
    if difference is None:
        return None
    return (
        f'{one.store_key}: "{store.folder}" was not made from the files of {one.corpus_key}: '
        f"{difference}. Run `ptm preprocess RECIPE --fresh`, or correct {one.corpus_key} or "
        f"{one.store_key}."
    )


def _difference(now: Mapping[str, int], made: Mapping[str, int]) -> str | None:
    """What differs between the sizes of files by path; None if all are the same.

    A file that is in another folder now, with the same name and size, is the same.
    """
    left = Counter((Path(path).name, size) for path, size in made.items())
    before = {Path(path).name: size for path, size in made.items()}
    for path, size in now.items():
        name = Path(path).name
        if left[name, size]:
            left[name, size] -= 1
        elif name in before:
            return f'"{path}" has {size:,} bytes, but had {before[name]:,} bytes'
        else:
            return f'its manifest does not name "{path}"'
    missing = next((name for (name, _), count in left.items() if count), None)
    return None if missing is None else f'its manifest also names "{missing}"'
