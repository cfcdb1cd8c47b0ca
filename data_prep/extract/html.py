"""HTML to text: the page's encoding found, its main content taken out, within a time limit."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from data_prep.config import ExtractConfig


class ExtractionError(ValueError):
    """A page without text; the message is a few fixed words to count by."""


def decode(content: bytes, charset: str = "") -> str:
    """The page as a string: the named character set where it fits, else the one that the bytes look like."""
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding

    if b"\0" in content[:1024] and not content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ExtractionError("binary content")
    named = [charset] if charset else []
    for encoding in [*named, "utf-8"]:
        try:
            return content.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    return bytes_to_str(content, detect_encoding(content) or "utf-8")


def extract(content: bytes, charset: str, config: ExtractConfig) -> str:
    """The main text of an HTML page. Raises `ExtractionError` where there is none in time."""
    page = decode(content, charset)
    try:
        with time_limit(config.seconds):
            text = _engine_text(page, config.engine)
    except TimeoutError as error:
        raise ExtractionError("extraction took too long") from error
    except (
        ValueError,
        TypeError,
        AttributeError,
        KeyError,
        IndexError,
        AssertionError,
        RecursionError,
    ) as error:
        # Other people's parsers on anything that the web holds: what they trip over is counted by kind.
        raise ExtractionError(f"extractor failed with {type(error).__name__}") from error
    if not text or not text.strip():
        raise ExtractionError("no main text")
    return text


def _engine_text(page: str, engine: str) -> str | None:
    if engine == "trafilatura":
        import trafilatura

        return trafilatura.extract(page, fast=True, include_comments=False)
    from resiliparse.extract.html2text import extract_plain_text

    return extract_plain_text(page, main_content=True)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raises TimeoutError in the block after `seconds`; works in a process's main thread."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
