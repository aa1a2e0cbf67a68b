"""The report on a corpus as JSON values: counts as numbers, shares as fractions of 1."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ptm.runs.corpus.counts import StoreCounts
from ptm.runs.corpus.lengths import QUANTILES, LengthHistogram, RowFill
from ptm.runs.corpus.report import CorpusReport, StoreReport


def as_json(report: CorpusReport) -> dict[str, Any]:
    """The whole report as one JSON object."""
    return {
        "title": report.title,
        "objective": report.objective,
        "rows_per_epoch": report.rows_per_epoch,
        "stores": [_store(one) for one in report.stores],
    }


def _store(store: StoreReport) -> dict[str, Any]:
    strings = store.unknown_strings
    return {
        "name": store.name,
        "folder": store.folder,
        "layout": store.layout,
        "files": store.files,
        "labels": dict(store.labels) if store.labels is not None else None,
        "findings": list(store.findings),
        **_counts(store.counts),
        "lengths": _lengths(store.counts.lengths),
        "long_documents": "continue in further rows" if store.continues else "are cut off",
        "row_lengths": [_fill(one, store.counts.tokens) for one in store.fills],
        "duplicates": {
            "copies": store.counts.duplicates.copies,
            "repeated": store.counts.duplicates.repeated,
            "most_repeated": [
                {"count": one.count, "tokens": one.length, "text": text}
                for one, text in store.repeated
            ],
        },
        "unknown_strings": None
        if strings is None
        else {**asdict(strings), "most_frequent": [list(one) for one in strings.most_frequent]},
        "examples": [asdict(one) for one in store.examples],
        "sample": list(store.sample),
    }


def _counts(counts: StoreCounts) -> dict[str, Any]:
    return {
        "documents": counts.documents,
        "sentences": counts.sentences,
        "tokens": counts.tokens,
        "text_bytes": counts.text_bytes,
        "bytes_per_token": counts.bytes_per_token,
        "unknown_tokens": counts.unknown_tokens,
        "unknown_share": counts.unknown_share,
        "vocabulary_size": counts.vocabulary_size,
        "tokens_used": counts.tokens_used,
        "lines": counts.lines,
        "left_out": dict(counts.left_out),
    }


def _lengths(lengths: LengthHistogram) -> dict[str, Any]:
    return {
        "mean": lengths.tokens / lengths.documents,
        "shortest": lengths.shortest,
        "longest": lengths.longest,
        "quantiles": {f"{share:g}": lengths.quantile(share) for share in QUANTILES},
        "histogram": [asdict(bucket) for bucket in lengths.buckets()],
    }


def _fill(fill: RowFill, tokens: int) -> dict[str, Any]:
    return {
        "row_length": fill.row_length,
        "examples": fill.examples,
        "fill": fill.fill,
        "packed_rows": fill.packed_rows,
        "packed_fill": fill.packed_fill,
        "longer_documents": fill.longer_documents,
        "tokens_cut_off": fill.tokens_cut_off,
        "share_cut_off": fill.tokens_cut_off / tokens,
    }
