"""What is printed or logged: control characters are made visible, secrets of URLs are hidden."""

from __future__ import annotations

import logging
import re
from types import TracebackType

_CONTROL = re.compile(
    # C0, DEL and C1, which terminals obey; marks that reverse the direction of the text around
    # them; line and paragraph separators; lone surrogates, which no encoding can write.
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_HIDDEN = "HIDDEN"
_URL = re.compile(r"(?P<protocol>\b[a-zA-Z][\w+.-]*://)(?P<user>[^\s/?#\"']*@)?(?P<rest>[^\s\"']*)")
_VALUE = re.compile(
    # A URL may be followed by the number of a line or a punctuation mark.
    r"(?<=[?&])(?P<name>[^=&#\s]*=)[^&#\s]+?(?=(?::\d+)?[:.,;)]*(?:[&#]|$))"
)
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def escaped(text: str) -> str:
    """`text` on one line, with control characters as in JSON: `\\n`, `\\u001b`."""
    return _CONTROL.sub(_escape, text)


def escaped_block(text: str) -> str:
    """`text` of several lines: as `escaped`, except that line ends and tabs stay."""
    return _CONTROL.sub(lambda found: found[0] if found[0] in "\n\t" else _escape(found), text)


def shown_url(text: str) -> str:
    """`text` without the user, password and values of the query of the URLs in it.

    Other text stays as it is: `https://me:key@host/a?token=b` becomes
    `https://HIDDEN@host/a?token=HIDDEN`.
    """
    return _URL.sub(_without_secrets, text) if "://" in text else text


def _without_secrets(found: re.Match[str]) -> str:
    user = f"{_HIDDEN}@" if found["user"] else ""
    rest = _VALUE.sub(lambda value: f"{value['name']}{_HIDDEN}", found["rest"])
    return f"{found['protocol']}{user}{rest}"


class EscapingFormatter(logging.Formatter):
    """Log messages on one line each, escaped, with `shown_url`; tracebacks keep their lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return escaped(shown_url(super().formatMessage(record)))

    def formatException(  # noqa: N802
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None]
        | tuple[None, None, None],
    ) -> str:
        return escaped_block(shown_url(super().formatException(ei)))


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    return _SHORT.get(character, f"\\u{ord(character):04x}")
