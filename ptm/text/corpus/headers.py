"""Header lines of TAB-separated text, which a layout without header would take for texts.

`en<TAB>zh` above translations is no pair, and `sentiment<TAB>review` is no labelled text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from ptm.errors import UserError
from ptm.text.corpus.files import Layout
from ptm.text.corpus.records import FIELD_OPTIONS

_CODES = """
aa ab af ak am ar as ay az ba be bg bh bi bn bo br bs ca ce co cs cy da de dv dz ee el en eo es et
eu fa fi fj fo fr fy ga gd gl gn gu ha he hi hr ht hu hy ia id ig is it iu ja jv ka kk kl km kn ko
ks ku ky la lb lg ln lo lt lv mg mi mk ml mn mr ms mt my nb ne nl nn no oc om or pa pl ps pt qu rm
rn ro ru rw sa sd se sg si sk sl sm sn so sq sr st su sv sw ta te tg th ti tk tl tn to tr ts tt tw
ug uk ur uz ve vi wo xh yi yo yue za zh zu
ara ben bul ces cmn deu ell eng est fas fin fra heb hin hun ind ita jpn kor nld nob pol por ron rus
spa swe tha tur ukr urd vie zho
arabic chinese czech dutch english finnish french german greek hebrew hindi italian japanese korean
polish portuguese russian spanish swedish thai turkish ukrainian vietnamese
"""
_TEXT_NAMES = """
abstract anchor answer article body completion content context description document headline
hypothesis input instruction negative original output positive premise prompt query question
reference response review sentence sentence1 sentence2 source src summary target text text1 text2
text_a text_b tgt title translation tweet
中文 汉语 英文 英语 日文 日语 原文 译文 源语言 目标语言 问题 答案 回答 文本 内容 正文 标题 摘要 评论
"""
_LANGUAGES = frozenset(_CODES.split())
"""Codes of ISO 639 and English names of languages."""
_REGION = re.compile(r"[_-][a-z]{2,4}$")
_NUMBERS = frozenset({"id", "idx", "index", "guid", "qid", "no.", "#"})
_LABELS = frozenset(
    {"label", "labels", "class", "category", "sentiment", "rating", "score", "stars"}
    | {"topic", "intent", "target", "polarity", "标签", "类别", "情感"}
)
_USUAL = _LANGUAGES | _NUMBERS | _LABELS | frozenset(_TEXT_NAMES.split())
_NAME = re.compile(r"[A-Za-z][\w.-]{0,30}", re.ASCII)
_FEWEST_LINES = 5
"""Lines below the first one that are compared with it."""
_READ: Mapping[Layout, Sequence[tuple[str, ...]]] = {
    "pairs": (("source", "target"), ("src", "tgt"), ("anchor", "positive")),
    "triplets": (("anchor", "positive", "negative"), ("anchor", "positive", "negative_1")),
    "labelled": (("label",),),
}
"""Columns of the headers that the layouts recognise."""
_KINDS: Mapping[Layout, str] = {
    "pairs": "a pair",
    "triplets": "a triplet",
    "labelled": "a labelled text",
}
_READ_WITHOUT_LABELS = (("text",), ("text_a",))
"""The same for labelled texts whose labels may be absent."""


def header_finding(
    path: str,
    lines: Sequence[str],
    layout: Layout,
    *,
    optional: Collection[str] = (),
    by_options: bool = False,
) -> str | None:
    """A sentence if the first of the `lines` of plain text may be a header that is read as text.

    `optional`: roles of columns that the file may lack. `by_options`: whether the options of a
    command, and not a recipe, say how the file is read. Raises UserError if the line has nothing
    but usual names of columns.
    """
    cells = [cell.strip() for cell in lines[0].split("\t")] if lines else []
    names = [cell.lower() for cell in cells]
    read = _READ_WITHOUT_LABELS if "label" in optional else _READ.get(layout, ())
    known = any(set(needed) <= set(names) for needed in read)
    if layout not in _READ or len(cells) < 2 or len(set(names)) < len(names) or known:
        return None
    what = "a text" if optional else _KINDS[layout]
    line = "<TAB>".join(cells)
    place = f'{path}:1: the line "{line}" '
    fields = _fields(cells, layout, has_label="label" not in optional)
    key = _advice(fields, by_options=by_options)
    format_key = "--input-format" if by_options else "data.format:"
    if all(map(is_usual_name, names)):
        raise UserError(
            f"{place}is a header, but would be read as {what}. {key}, or {format_key} text "
            f"if the line is {what}."
        )
    others = [line.split("\t") for line in lines[1:]]
    is_label = layout == "labelled" and cells[0] in {one[0].strip() for one in others}
    if is_label or len(others) < _FEWEST_LINES or not _are_names(cells):
        return None
    if any(map(_are_names, others)):
        return None
    return f"{place}is read as {what}, but may be a header. {key}, if it is one."


def is_usual_name(name: str) -> bool:
    """Whether tables often have a column of this name: a language, `label`, `question`, ..."""
    name = name.lower()
    return name in _USUAL or _REGION.sub("", name) in _LANGUAGES


def _are_names(cells: Sequence[str]) -> bool:
    """Whether each cell is a single word of ASCII, as the name of a column is."""
    return all(_NAME.fullmatch(cell.strip()) for cell in cells)


def _advice(fields: Mapping[str, str], *, by_options: bool) -> str:
    """What to set, so that the columns of a header are read."""
    if by_options:
        options = (f"{FIELD_OPTIONS[role]} {name}" for role, name in fields.items())
        return f"Set {' '.join(options)}"
    return f"Set data.fields: {{{', '.join(f'{role}: {name}' for role, name in fields.items())}}}"


def _fields(cells: Sequence[str], layout: Layout, *, has_label: bool) -> dict[str, str]:
    """The likely column of each role for a header.

    `has_label`: whether a column of the layout `labelled` is a label, whatever its name is.
    """
    kept = [cell for cell in cells if cell.lower() not in _NUMBERS]
    if len(kept) < 2:
        kept = list(cells)
    if layout == "pairs":
        return {"source": kept[0], "target": kept[1]}
    if layout == "triplets":
        return dict(zip(("anchor", "positive", "negative"), kept, strict=False))
    label = next((cell for cell in kept if cell.lower() in _LABELS), kept[0] if has_label else None)
    texts = [cell for cell in kept if cell != label]
    second = {"text_b": texts[1]} if len(texts) == 2 else {}
    return {**({"label": label} if label else {}), "text": texts[0], **second}
