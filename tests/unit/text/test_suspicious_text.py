"""Files that were probably decoded by another encoding than their own."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

import pytest

from ptm.errors import UserError
from ptm.text.corpus import Layout, ReadOptions, find_corpus, recognise
from ptm.text.corpus.encodings import canonical_encoding
from tests.support.corpora import json_lines, recognised

TEXTS = {
    "french": "Le château était élevé, ça va à Nîmes. Où naît la forêt où l'été s'achève déjà ?",
    "german": "Über die Straße läuft ein großer Bär, der schöne Äpfel und Öl für Müller trägt.",
    "polish": "Zażółć gęślą jaźń, mówił książę, gdy łódź płynęła wśród źdźbeł nad Wisłą.",
    "turkish": "Işıklı ağaçların altında küçük çocuklar öğretmenleriyle şarkı söylüyordu.",
    "vietnamese": "Trường đại học được thành lập để đào tạo những người thầy giỏi ở nước ta.",
    "russian": "Съешь же ещё этих мягких французских булок, да выпей чаю, сказал Пётр Ильич.",
    "greek": "Ο γέρος καθόταν στην αυλή και διηγιόταν ιστορίες για τη θάλασσα της Κρήτης.",
    "hebrew": "הילדים הלכו לבית הספר בבוקר וחזרו הביתה בצהריים כדי לאכול עם המשפחה.",
    "chinese": "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。床前明月光，疑是地上霜。",
    "quotes": "He wrote \N{LEFT DOUBLE QUOTATION MARK}it isn\N{RIGHT SINGLE QUOTATION MARK}t so"
    "\N{RIGHT DOUBLE QUOTATION MARK} \N{EN DASH} for 5 \N{EURO SIGN}, in a cœur.",
}
RIGHT = [
    *(("french", name) for name in ("latin-1", "cp1252", "iso8859-15", "cp850", "mac-roman")),
    *(("german", name) for name in ("latin-1", "cp1250", "cp437")),
    *(("polish", name) for name in ("iso8859-2", "cp1250")),
    *(("turkish", name) for name in ("iso8859-9", "cp1254")),
    *(("russian", name) for name in ("koi8-r", "cp1251", "cp866", "iso8859-5", "mac-cyrillic")),
    *(("greek", name) for name in ("iso8859-7", "cp1253")),
    *(("hebrew", name) for name in ("iso8859-8", "cp1255")),
    *(("chinese", name) for name in ("gb18030", "utf-8", "utf-16")),
    ("quotes", "cp1252"),
    *((name, "utf-8") for name in TEXTS),
]
WRONG = [
    ("french", "latin-1", "cp1251", "mix Latin with other letters"),
    ("french", "cp1252", "koi8-r", "mix Latin with other letters"),
    ("german", "latin-1", "iso8859-7", "mix Latin with other letters"),
    ("quotes", "cp1252", "latin-1", "Set data.encoding: cp1252"),
    ("russian", "cp1251", "latin-1", "accented letters or symbols"),
    ("russian", "cp1251", "koi8-r", "have capitals after small letters"),
    ("russian", "koi8-r", "cp1251", "have capitals after small letters"),
    ("greek", "iso8859-7", "latin-1", "accented letters or symbols"),
    ("chinese", "gb18030", "latin-1", "The file can be read as gb18030"),
    ("chinese", "gb18030", "cp1252", "The file can be read as gb18030"),
    ("french", "utf-8", "latin-1", "the file is valid UTF-8, .*Set data.encoding: utf-8"),
    ("chinese", "utf-8", "cp1251", "the file is valid UTF-8, .*Set data.encoding: utf-8"),
    ("russian", "utf-8", "gb18030", "the file is valid UTF-8, .*Set data.encoding: utf-8"),
]


def write(tmp_path: Path, text: str, encoding: str, *, name: str = "corpus.txt") -> Path:
    path = tmp_path / name
    lines = "".join(f"{number}. {text}\n" for number in range(60))
    path.write_bytes(lines.encode(encoding))
    return path


@pytest.mark.parametrize(("language", "encoding"), RIGHT)
def test_the_right_encoding_raises_no_suspicion(
    tmp_path: Path, language: str, encoding: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path, TEXTS[language], encoding)
    recognised(path, encoding=canonical_encoding(encoding))
    assert not caplog.messages


@pytest.mark.parametrize(("language", "encoding", "declared", "message"), WRONG)
def test_a_wrong_encoding_is_warned_of(
    tmp_path: Path,
    language: str,
    encoding: str,
    declared: str,
    message: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = write(tmp_path, TEXTS[language], encoding)
    recognised(path, encoding=canonical_encoding(declared))
    (warning,) = caplog.messages
    assert re.search(rf"corpus\.txt: .*{message}", warning)


def decoded_by(encoding: str, data: bytes) -> str:
    """As programs decode that give each byte that is undefined its own number."""
    codec = codecs.lookup(encoding)
    return "".join(
        codec.decode(bytes([byte]), "replace")[0].replace("\ufffd", chr(byte)) for byte in data
    )


@pytest.mark.parametrize("read_as", ["cp1252", "cp1251", "latin-1"])
@pytest.mark.parametrize("language", ["french", "russian", "chinese"])
def test_utf_8_that_was_decoded_twice_is_warned_of(
    tmp_path: Path, read_as: str, language: str, caplog: pytest.LogCaptureFixture
) -> None:
    recognised(write(tmp_path, decoded_by(read_as, TEXTS[language].encode()), "utf-8"))
    assert re.search(
        r"are UTF-8 that was read as \w+ and written again|are control characters", caplog.text
    )


def test_utf_8_that_was_decoded_as_gb18030_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recognised(write(tmp_path, "你好世界朋友".encode().decode("gb18030"), "utf-8"))
    assert 'read as gb18030 and written again, e.g. "浣犲ソ' in caplog.text
    assert '" for "你好世界朋友"' in caplog.text


def test_characters_that_an_earlier_conversion_lost_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recognised(write(tmp_path, "Le ch\ufffdteau \ufffdtait \ufffdlev\ufffd.", "utf-8"))
    assert "are U+FFFD, which an earlier conversion has put in place" in caplog.text


def test_controls_of_an_earlier_conversion_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = TEXTS["quotes"].encode("cp1252").decode("latin-1")
    recognised(write(tmp_path, text, "utf-8"))
    assert "are control characters (U+0080 to U+009F)" in caplog.text


def test_a_few_damaged_lines_raise_no_suspicion(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path, TEXTS["french"], "utf-8")
    with path.open("a", encoding="utf-8") as corpus:
        corpus.write("cafÃ© trиs \ufffd\ufffd \x92\n" * 4)
    recognised(path)
    assert not caplog.messages


GB18030 = "他们在路上遇到了一位老人，老人给他们讲了一个很长的故事。"


@pytest.mark.parametrize("layout", ["documents", "pairs", "labelled", "tagged"])
@pytest.mark.parametrize("suffix", ["txt", "tsv", "csv", "jsonl"])
def test_a_file_whose_first_lines_cannot_be_decoded_is_an_error_at_once(
    tmp_path: Path, suffix: str, layout: Layout, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / f"corpus.{suffix}"
    # The lines that would follow are not needed.
    path.write_bytes(b"id\ttext\n" + f"1\t{GB18030}\n\n".encode("gb18030") * 19 + b"cut")
    with pytest.raises(UserError) as caught:
        recognised(path, layout)
    assert re.search(
        rf"corpus\.{suffix}:2: the line is not valid UTF-8 \(invalid lines: 19 of the first 20\)\. "
        "Set data.encoding to .*, e.g. gb18030 or cp1252, or to detect",
        str(caught.value),
    )
    assert not caplog.messages


def test_a_file_for_a_command_names_the_option_of_the_encoding(tmp_path: Path) -> None:
    path = write(tmp_path, GB18030, "gb18030")
    with pytest.raises(UserError, match="Set --encoding to the encoding of the file"):
        recognised(path, key="")


@pytest.mark.parametrize(("damaged", "valid"), [(19, 0), (20, 20)])
def test_few_or_half_damaged_first_lines_are_neither_an_error_nor_judged(
    tmp_path: Path, damaged: int, valid: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "corpus.txt"
    # In GB18030 the bytes of the first two are those of U+0084 and U+0095 in UTF-8.
    wrong = f"聞聲{GB18030}\n".encode("gb18030")
    path.write_bytes(wrong * damaged + b"plain\n" * valid)
    recognised(path)
    assert not caplog.messages


def test_tables_and_json_lines_are_judged_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "corpus.jsonl"
    records = [{"text": TEXTS["french"]}] * 20
    path.write_bytes(json_lines(records).decode().encode("latin-1"))
    recognised(path, encoding="cp1251")
    assert "mix Latin with other letters" in caplog.text


def test_three_of_many_files_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(9):
        write(tmp_path, TEXTS["french"], "latin-1", name=f"{number}.txt")
    files = find_corpus([str(tmp_path)])
    recognise(files, "documents", ReadOptions(encoding="cp1251"))
    assert [name for name in "0123456789" if f"/{name}.txt: " in caplog.text] == ["0", "1", "2"]
    assert caplog.messages[-1] == "6 more files have such findings."
