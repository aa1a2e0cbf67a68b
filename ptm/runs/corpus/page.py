"""The report on a corpus as one HTML page, without scripts, network or other files."""

from __future__ import annotations

import html
from collections.abc import Iterator

from ptm.escaping import escaped_block
from ptm.runs.corpus.charts import Bars, Text, legend, paragraph, table, tiles
from ptm.runs.corpus.counts import StoreCounts
from ptm.runs.corpus.lines import (
    code_points,
    duplicates,
    percent,
    quantiles,
    sampled,
    shown,
    treatment,
)
from ptm.runs.corpus.report import CorpusReport, StoreReport

_STYLE = """
:root { color-scheme: light dark; --back: #fff; --fore: #222; --faint: #5f6670; --line: #d8dbe0;
  --panel: #f5f6f8; --warn: #fff3d6; --series0: #2b6cb0; --series1: #c05621 }
@media (prefers-color-scheme: dark) { :root { --back: #16181c; --fore: #e4e6ea; --faint: #a0a7b2;
  --line: #383d46; --panel: #21252b; --warn: #473a17; --series0: #63a4e8; --series1: #e08b4c } }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1rem; max-width: 1100px;
  background: var(--back); color: var(--fore); overflow-wrap: anywhere }
h1 { font-size: 1.5rem } h2 { font-size: 1.25rem; margin-top: 2.5rem }
h3 { font-size: 1rem; margin: 1.75rem 0 .5rem } p { margin: .4rem 0 } .faint { color: var(--faint) }
.warning { background: var(--warn); padding: .5rem .75rem; border-radius: 4px }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.3rem, 1fr)); gap: .6rem }
.tiles div { background: var(--panel); padding: .6rem .75rem; border-radius: 4px }
.tiles b { display: block; font-size: 1.1rem } .tiles span { color: var(--faint); font-size: .85rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .9rem .25rem 0; text-align: left; border-bottom: 1px solid var(--line);
  overflow-wrap: normal; vertical-align: middle }
th { font-weight: 600; font-size: .85rem; color: var(--faint) } td { white-space: nowrap }
td.text { white-space: normal; overflow-wrap: anywhere; min-width: 9rem }
td.bars { width: 45%; min-width: 6rem } tr.own { font-weight: 700 }
svg { display: block; width: 100%; height: .65rem } svg + svg { margin-top: 2px }
.series0 { fill: var(--series0) } .series1 { fill: var(--series1) }
.legend span { margin-right: 1.2rem } .legend svg { display: inline-block; width: .7rem; height: .7rem }
pre { background: var(--panel); padding: .75rem; border-radius: 4px; white-space: pre-wrap;
  font-size: .85rem; overflow-wrap: anywhere }
@media (max-width: 560px) { body { font-size: 13px; padding: .7rem } th, td { padding-right: .5rem }
  td.bars { min-width: 2.5rem } td.text { min-width: 3.5rem } }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page_of(report: CorpusReport) -> str:
    """The page as HTML. All names and texts are escaped."""
    title = html.escape(f"Corpus: {report.title}")
    body = "".join(_body(report))
    return escaped_block(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1>{body}</body></html>\n"
    )


def _body(report: CorpusReport) -> Iterator[str]:
    if report.objective is not None:
        yield paragraph(f"Objective {report.objective}, {report.rows_per_epoch:,} rows per epoch.")
    if len(report.stores) > 1:
        yield table(
            ("store", "documents", "tokens", "bytes per token", "unknown tokens"),
            [
                (Text(one.name), f"{one.counts.documents:,}", *_rates(one.counts))
                for one in report.stores
            ],
        )
    for store in report.stores:
        yield f"<h2>{html.escape(store.name)}</h2>"
        if store.name != store.folder:
            yield paragraph(store.folder, kind="faint")
        yield from _store(store)


def _rates(counts: StoreCounts) -> tuple[str, str, str]:
    """Tokens, bytes per token and share of unknown tokens."""
    per_token, unknown = counts.bytes_per_token, counts.unknown_share
    return (
        f"{counts.tokens:,}",
        "not counted" if per_token is None else f"{per_token:.2f}",
        "not counted" if unknown is None else percent(unknown),
    )


def _store(store: StoreReport) -> Iterator[str]:
    counts = store.counts
    for sentence in store.findings:
        yield paragraph(f"Warning: {sentence}.", kind="warning")
    tokens, per_token, unknown = _rates(counts)
    used = "" if counts.tokens_used is None else f"{counts.tokens_used:,} of "
    yield tiles(
        [
            ("documents", f"{counts.documents:,}"),
            ("sentences", f"{counts.sentences:,}"),
            ("tokens", tokens),
            ("bytes of text per token", per_token),
            ("unknown tokens", unknown),
            ("documents that repeat others", f"{counts.duplicates.copies:,}"),
            ("tokens of the vocabulary in use", f"{used}{counts.vocabulary_size:,}"),
        ]
    )
    yield from _lengths(store)
    yield from _fills(store)
    yield from _examples(store)
    yield from _unknown(store)
    yield from _left_out(store)
    yield from _duplicates(store)
    if store.sample:
        yield f"<h3>First rows</h3><pre>{html.escape(chr(10).join(store.sample))}</pre>"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _lengths(store: StoreReport) -> Iterator[str]:
    lengths = store.counts.lengths
    buckets = list(lengths.buckets())
    most = max(bucket.documents for bucket in buckets)
    yield "<h3>Length of documents</h3>" + paragraph(_sentence(quantiles(lengths)), kind="faint")
    yield table(
        ("tokens", "", "documents", ""),
        [
            (
                bucket.range,
                Bars((bucket.documents / most,)),
                f"{bucket.documents:,}",
                percent(bucket.documents / lengths.documents),
            )
            for bucket in buckets
        ],
    )


def _fills(store: StoreReport) -> Iterator[str]:
    note = f"Documents without special tokens. {_sentence(treatment(store))}"
    own = [fill.row_length for fill in store.fills]
    if store.own_length is not None:
        note += f" The recipe has rows of {store.own_length:,} tokens."
    yield "<h3>Cells filled, by row length</h3>" + paragraph(note, kind="faint")
    yield legend(("one document per row", "packed"))
    yield table(
        ("row length", "", "filled", "packed", "tokens cut off"),
        [
            (
                f"{fill.row_length:,}",
                Bars((fill.fill, fill.packed_fill)),
                percent(fill.fill),
                percent(fill.packed_fill),
                f"{fill.tokens_cut_off:,} ({percent(fill.tokens_cut_off / store.counts.tokens)})",
            )
            for fill in store.fills
        ],
        marked=own.index(store.own_length) if store.own_length is not None else -1,
    )


def _examples(store: StoreReport) -> Iterator[str]:
    if not store.examples:
        return
    yield "<h3>Examples per epoch</h3>"
    yield table(
        ("split", "examples", "rows", "cells filled", "left out"),
        [
            (
                one.split,
                f"{one.examples:,}" + (" (change every epoch)" if one.changes else ""),
                f"{one.rows:,}",
                percent(one.fill),
                Text(", ".join(f"{count:,} {what}" for what, count in one.left_out.items()) or "0"),
            )
            for one in store.examples
        ],
    )


def _unknown(store: StoreReport) -> Iterator[str]:
    found = store.unknown_strings
    yield "<h3>Unknown tokens</h3>"
    if found is None:
        yield paragraph(f"No strings are shown: {store.no_unknown_strings}", kind="faint")
        return
    yield paragraph(_sentence(sampled(found, store.counts)), kind="faint")
    if found.tokens:
        most = found.most_frequent[0][1]
        yield table(
            ("string", "", "", "occurrences"),
            [
                (Text(shown(text)), code_points(text), Bars((count / most,)), f"{count:,}")
                for text, count in found.most_frequent
            ],
        )


def _left_out(store: StoreReport) -> Iterator[str]:
    counts = store.counts
    lines = "not counted" if counts.lines is None else f"{counts.lines:,}"
    yield "<h3>Left out</h3>" + table(
        ("reason", "lines"),
        [*((reason, f"{n:,}") for reason, n in counts.left_out.items()), ("all lines", lines)],
    )


def _duplicates(store: StoreReport) -> Iterator[str]:
    yield "<h3>Duplicates</h3>" + paragraph(_sentence(duplicates(store.counts)), kind="faint")
    if store.repeated:
        yield table(
            ("occurrences", "tokens", "text"),
            [
                (f"{one.count:,}", f"{one.length:,}", Text(shown(text)))
                for one, text in store.repeated
            ],
        )
