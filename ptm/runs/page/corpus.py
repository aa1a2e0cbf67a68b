"""The data of a run on its page: its stores, the lengths of their documents, and what was read."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from ptm.errors import UserError
from ptm.escaping import shown_url
from ptm.recipe import Recipe, recipe_from_data
from ptm.recipe.saved_files import RECIPE, read_environment, read_metrics, read_recipe_data
from ptm.runs.corpus.counts import left_out_of, lengths_of
from ptm.runs.corpus.lengths import LengthHistogram
from ptm.runs.page.headline import log_facts
from ptm.runs.page.html import subtable
from ptm.store.format import MANIFEST, StoreInfo
from ptm.store.reader import TokenStore

_MOST_FILES = 5
_UNKNOWN = "not counted"


@dataclass(frozen=True)
class StoreData:
    """What the page shows about one store."""

    name: str
    """Its place in the recipe, such as `data` or `data.corpus.poems`."""
    folder: str
    info: StoreInfo | None
    """None if the store cannot be read on this machine."""
    lengths: LengthHistogram | None
    problem: str = ""
    """Why the store cannot be read."""

    @property
    def unknown_share(self) -> float | None:
        """Unknown tokens per token; None if the store has no count of them."""
        unknown = None if self.info is None else self.info.report.get("unknown_tokens")
        return None if unknown is None or self.info is None else unknown / self.info.tokens


@dataclass(frozen=True)
class Progress:
    """How much of the data a run has read."""

    rows: int
    rows_per_epoch: int | None
    fill: float | None
    """Share of the cells of the rows that hold tokens."""
    shares: Mapping[str, float]
    """Share of the rows by source, of a mixture."""

    @property
    def epochs(self) -> float | None:
        """Passes over the data; None if the log does not have the rows of an epoch."""
        return self.rows / self.rows_per_epoch if self.rows_per_epoch else None


def data_section(run: Path) -> str:
    """The HTML of the data of one run. Raises UserError if its recipe is damaged."""
    stores, progress = stores_of(run), progress_of(run)
    parts = [subtable(("", ""), _progress_rows(progress)), _stores_table(stores)]
    if _was_written_again(run, stores):
        parts.append(
            "<p>The store was written again, with other content, after the last start.</p>"
        )
    parts += [_details(store, alone=len(stores) == 1) for store in stores]
    if progress.shares:
        parts.append("<h3>Share of the rows by source</h3>")
        parts.append(_bars(sorted(progress.shares.items(), key=lambda one: -one[1]), _as_percent))
    return f"<h2>Data</h2>{''.join(parts)}"


def _was_written_again(run: Path, stores: Sequence[StoreData]) -> bool:
    """Whether a single training store has other content than at the last start of the run.

    The fingerprint of a mixture depends on more than its stores, so that it is not compared.
    """
    environment = read_environment(run, damage=[])
    training = [one.info for one in stores if one.name == "data" and one.info is not None]
    if environment is None or not training:
        return False
    return training[0].fingerprint != environment.data_fingerprint


def data_overview(runs: Sequence[Path]) -> str:
    """The HTML of the data of several runs side by side; a row of the table is a run."""
    head = ("", "documents", "tokens", "median length", "unknown tokens", "rows read", "epochs")
    rows = []
    for run in runs:
        training = [one for one in stores_of(run) if not one.name.startswith("data.evaluation")]
        progress = progress_of(run)
        rows.append((run.name, *_sums(training), f"{progress.rows:,}", _epochs(progress)))
    return f"<h2>Data</h2>{subtable(head, rows)}"


def stores_of(run: Path) -> list[StoreData]:
    """The stores that the recipe of a run names. Raises UserError if the recipe is damaged."""
    data = read_recipe_data(run / RECIPE)
    try:
        recipe = recipe_from_data(data, Recipe, name=str(run / RECIPE))
    except UserError as error:
        # A file that the recipe names, such as a word list, may be on another machine.
        return [StoreData("data", "", None, None, str(error))]
    return [_store_data(name, one.store) for name, one in recipe.data.corpora.items()]


def progress_of(run: Path) -> Progress:
    """What a run has read so far, without damaged lines of metrics.jsonl."""
    training = [record for record in read_metrics(run, damage=[]) if record["split"] == "train"]
    last: Mapping[str, Any] = training[-1] if training else {}
    shares = {
        key.removeprefix("share/"): float(value)
        for key, value in last.items()
        if key.startswith("share/") and isinstance(value, int | float)
    }
    facts = log_facts(run)
    return Progress(int(last.get("rows", 0)), facts.rows_per_epoch, facts.fill, shares)


def _store_data(name: str, folder: str) -> StoreData:
    try:
        written = (Path(folder) / MANIFEST).stat().st_mtime_ns
    except OSError:
        return StoreData(name, folder, None, None, "The store is not on this machine.")
    try:
        return StoreData(name, folder, *_read(folder, written))
    except UserError as error:
        return StoreData(name, folder, None, None, str(error))


@lru_cache(maxsize=64)
def _read(folder: str, _written: int) -> tuple[StoreInfo, LengthHistogram]:
    """The manifest and lengths of a store. A live page reads them once per writing."""
    store = TokenStore.open(folder)
    return store.info, lengths_of(store)


def _progress_rows(progress: Progress) -> Iterator[tuple[str, str]]:
    yield "rows read", f"{progress.rows:,}"
    if progress.rows_per_epoch is not None:
        yield "rows per epoch", f"{progress.rows_per_epoch:,}"
        yield "epochs read", _epochs(progress)
    if progress.fill is not None:
        yield "real tokens in the rows", f"{100 * progress.fill:.1f} %"


def _epochs(progress: Progress) -> str:
    return "" if progress.epochs is None else f"{progress.epochs:.2f}"


def _stores_table(stores: Sequence[StoreData]) -> str:
    head = (
        "store",
        "documents",
        "tokens",
        "median length",
        "longest",
        "unknown tokens",
        "left out",
    )
    rows = []
    for one in stores:
        if one.info is None or one.lengths is None:
            rows.append((_title(one), one.problem, "", "", "", "", ""))
            continue
        rows.append(
            (
                _title(one),
                f"{one.info.documents:,}",
                f"{one.info.tokens:,}",
                f"{one.lengths.quantile(0.5):,}",
                f"{one.lengths.longest:,}",
                _percent(one.unknown_share),
                _left_out(one.info),
            )
        )
    return subtable(head, rows)


def _title(one: StoreData) -> str:
    return f"{one.name} ({one.folder})" if one.folder else one.name


def _sums(stores: Sequence[StoreData]) -> tuple[str, str, str, str]:
    """Documents, tokens, median length and unknown tokens of all stores of a run."""
    known = [(one.info, one.lengths) for one in stores if one.info and one.lengths]
    if len(known) < len(stores) or not known:
        return next((one.problem for one in stores if one.problem), ""), "", "", ""
    lengths = known[0][1]
    for _, more in known[1:]:
        lengths = lengths.added(more)
    tokens = sum(info.tokens for info, _ in known)
    counts = [info.report.get("unknown_tokens") for info, _ in known]
    unknown = None if None in counts else sum(count or 0 for count in counts) / tokens
    return (
        f"{lengths.documents:,}",
        f"{tokens:,}",
        f"{lengths.quantile(0.5):,}",
        _percent(unknown),
    )


def _left_out(info: StoreInfo) -> str:
    """The lines and documents that are not in the store, by reason."""
    found = [f"{count:,} {reason}" for reason, count in left_out_of(info).items() if count]
    return ", ".join(found) or "nothing"


def _percent(share: float | None) -> str:
    return _UNKNOWN if share is None else f"{100 * share:.2f} %"


def _details(one: StoreData, *, alone: bool) -> str:
    """Lengths and largest files of a store, side by side on a wide screen."""
    if one.info is None or one.lengths is None:
        return ""
    documents = [(bucket.range, float(bucket.documents)) for bucket in one.lengths.buckets()]
    sizes = sorted(_file_sizes(one.info), key=lambda pair: -pair[1])
    of_store = "" if alone else f" of {html.escape(one.name)}"
    parts = [f"<div><h3>Tokens per document{of_store}</h3>{_bars(documents, _as_count)}</div>"]
    if len(sizes) > 1:
        title = f"Largest of {len(sizes)} files" if len(sizes) > _MOST_FILES else "Files by size"
        total = sum(size for _, size in sizes) or 1
        shares = [(name, size / total) for name, size in sizes[:_MOST_FILES]]
        parts.append(f"<div><h3>{title}{of_store}</h3>{_bars(shares, _as_percent)}</div>")
    return f'<div class="pair">{"".join(parts)}</div>'


def _file_sizes(info: StoreInfo) -> Iterator[tuple[str, int]]:
    """Name and bytes of the corpus files whose size the manifest has."""
    for file in info.corpus:
        path, size = file.get("path"), file.get("bytes", file.get("size"))
        if isinstance(path, str) and isinstance(size, int):
            yield PurePosixPath(shown_url(path)).name, size


def _as_count(value: float) -> str:
    return f"{value:,.0f}"


def _as_percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _bars(values: Sequence[tuple[str, float]], shown: Callable[[float], str]) -> str:
    """Rows of a name, a bar and a number as `shown` writes it."""
    largest = max((value for _, value in values), default=0.0) or 1.0
    rows = "".join(
        f'<tr><td>{html.escape(name)}</td><td class="bar">'
        f'<i style="width:{100 * value / largest:.1f}%"></i></td><td>{shown(value)}</td></tr>'
        for name, value in values
    )
    return f'<div class="scroll"><table class="bars">{rows}</table></div>'
