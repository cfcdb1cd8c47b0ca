"""HTML to text: the page's encoding found, its main content taken out. Limits are set by `worker`."""

from functools import cache
from typing import Any

from data_prep.contract.utf8 import mark_of
from data_prep.extract.faster import faster_trafilatura
from data_prep.extract.labels import name_of
from data_prep.extract.sniff import PRESCAN, declared, decode_page

WITH_ZEROS = "utf-16"


class ExtractionError(ValueError):
    """A page without text; the message is a few fixed words to count by."""


def decode(content: bytes, charset: str = "") -> str:
    """The page as a string, by `sniff`. Raises `ExtractionError` for what is no text."""
    if b"\0" in content[:PRESCAN] and not mark_of(content)[0]:
        name = name_of(charset) or declared(content[:PRESCAN])
        if not name.startswith(WITH_ZEROS):
            raise ExtractionError("binary content")
    return decode_page(content, charset)


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
