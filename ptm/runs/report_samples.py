"""Sample predictions as a part of a run's page: each sample's text, and a line per step."""

from __future__ import annotations

import html
from collections.abc import Sequence

from ptm.counted import counted
from ptm.train.samples.record import Sample, SampleRecord, gap

_MOST_STEPS = 6

STYLE = """
:root { --hit: #1a7f37 } @media (prefers-color-scheme: dark) { :root { --hit: #3fb950 } }
.sample { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: 0.6rem 0.8rem; margin: 0.75rem 0; break-inside: avoid }
.sample p { margin: 0 0 0.5rem; white-space: pre-wrap } .sample sup { color: var(--soft) }
.sample dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 0.15rem 0.9rem;
  margin: 0; font-size: 0.9rem }
.sample dt { color: var(--soft) } .sample dd { margin: 0; white-space: pre-wrap }
.sample dd span { display: inline-block; margin-right: 0.7em }
.sample .hit { color: var(--hit); font-weight: 600 }
"""


def samples_section(records: Sequence[SampleRecord]) -> str:
    """The HTML of all samples; empty without records."""
    if not records:
        return ""
    newest = records[-1]
    kept = _selected([one for one in records if one.evaluation == newest.evaluation])
    left = f" of {len(records)} evaluations" if len(records) > len(kept) else ""
    gaps = (
        " Numbers in a text are gaps; a token in bold is the expected one."
        if any(sample.has_gaps for sample in newest.samples)
        else ""
    )
    body = "".join(_sample(sample, kept) for sample in newest.samples)
    return (
        f"<h2>Samples of {html.escape(newest.evaluation)}</h2><p>What the model predicted at "
        f"{counted(len(kept), 'step')}{left}, the newest first.{gaps}</p>{body}"
    )


def _selected(records: Sequence[SampleRecord]) -> list[SampleRecord]:
    """At most six records, spread over the training, newest first."""
    last = len(records) - 1
    count = min(_MOST_STEPS, len(records))
    chosen = {round(last * at / max(1, count - 1)) for at in range(count)} | {last}
    return [records[at] for at in sorted(chosen, reverse=True)]


def _sample(newest: Sample, records: Sequence[SampleRecord]) -> str:
    lines = [_line("expected", _entries(newest, newest.expected))]
    for record in records:
        # A run that was resumed with another number of samples has other texts.
        found = next((one for one in record.samples if one.text == newest.text), None)
        if found is not None:
            lines.append(_line(f"step {record.step:,}", _entries(found, found.predicted)))
    text = html.escape(newest.text)
    for number in range(1, len(newest.expected) + 1) if newest.has_gaps else ():
        text = text.replace(gap(number), f"<sup>[{number}]</sup>", 1)
    return f'<div class="sample"><p>{text}</p><dl>{"".join(lines)}</dl></div>'


def _line(name: str, entries: str) -> str:
    return f"<dt>{name}</dt><dd>{entries}</dd>"


def _entries(sample: Sample, shown: Sequence[str]) -> str:
    found = []
    for number, entry in enumerate(shown, start=1):
        is_hit = shown is not sample.expected and entry == sample.expected[number - 1]
        label = f"<sup>[{number}]</sup>" if sample.has_gaps else ""
        mark = ' class="hit"' if is_hit else ""
        found.append(f"<span>{label}<span{mark}>{html.escape(entry)}</span></span>")
    return "".join(found) if sample.has_gaps else _plain(sample, shown)


def _plain(sample: Sample, shown: Sequence[str]) -> str:
    """Whole texts, which may be long."""
    text = html.escape(" ".join(shown)) or "(nothing)"
    is_hit = shown is not sample.expected and shown == sample.expected
    return f'<b class="hit">{text}</b>' if is_hit else text
