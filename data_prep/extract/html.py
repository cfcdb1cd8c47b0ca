"""HTML to text: the page's encoding found, its main content taken out. Limits are set by `worker`."""

from functools import cache
from typing import Any

from resiliparse.parse.encoding import bytes_to_str, detect_encoding

from data_prep.extract.faster import faster_trafilatura

WITH_ZEROS = ("utf-16", "utf-32", "ucs-2")
ESCAPES = b"\x1b$"
"""Begins two-byte characters in ISO-2022-JP and its like, whose bytes are all valid UTF-8."""


class ExtractionError(ValueError):
    """A page without text; the message is a few fixed words to count by."""


def decode(content: bytes, charset: str = "") -> str:
    """The page as a string: by its byte order mark, the character set that the server named or UTF-8,
    whichever fits first, else by what the page says of itself, else by what the bytes look like.

    Raises `ExtractionError` for what is no text.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        charset = "utf-16"
    elif b"\0" in content[:1024] and not charset.lower().startswith(WITH_ZEROS):
        raise ExtractionError("binary content")
    utf8 = [] if ESCAPES in content else ["utf-8-sig"]
    for encoding in [charset] * bool(charset) + utf8:
        try:
            return content.decode(encoding)
        except (UnicodeError, LookupError):
            continue
    return str(bytes_to_str(content, detect_encoding(content, from_html_meta=True) or "utf-8"))


def extract(content: bytes, charset: str, engine: str) -> str:
    """The main text of an HTML page. Raises `ExtractionError` where there is none."""
    page = decode(content, charset)
    try:
        text = _engine_text(page, engine)
    except MemoryError as error:
        raise ExtractionError("extraction took too much memory") from error
    except Exception as error:
        # Other people's parsers on anything that the web holds: what they trip over is counted by its kind.
        raise ExtractionError(f"extractor failed with {type(error).__name__}") from error
    if not text or not text.strip():
        raise ExtractionError("no main text")
    return text


def _engine_text(page: str, engine: str) -> str | None:
    if engine == "trafilatura":
        import trafilatura

        with faster_trafilatura():
            return trafilatura.extract(page, options=_options())
    from resiliparse.extract.html2text import extract_plain_text

    return extract_plain_text(page, main_content=True)


@cache
def _options() -> Any:
    """Trafilatura's fast mode: none of the second opinions that cost most of its time and add little."""
    from trafilatura.settings import Extractor

    return Extractor(fast=True, comments=False)
