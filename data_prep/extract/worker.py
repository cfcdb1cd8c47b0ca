"""Extraction in a process of its own, so that no page can hang or crash the one that reads the corpus.

Parsers written in C heed no exception: a page that takes too long is ended by the kernel, which kills this
process when its time is over (SIGPROF, processor time, so that a busy machine fails no page). The parent
counts what happened and starts another.

    python -m data_prep.extract.worker      speaks pickles over its standard input and output
"""

import gc
import pickle
import resource
import signal
import subprocess
import sys
from typing import IO, Any

from data_prep.contract.family import die_with_parent
from data_prep.extract.html import ExtractionError

MEMORY_BYTES = 4 << 30


class Extractor:
    """The parent's side: one process, started with the first page and again after each that ended it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def extract(self, content: bytes | str, charset: str, engine: str, seconds: float) -> str:
        """The main text of a page, or a text as it is, cleaned (`cleaning.normalise`).

        Raises `ExtractionError` where there is none in time.

        A process that dies is given the page once more: it may have been killed for what others did, as where
        the machine is short of memory, and what becomes of a page must not depend on that.
        """
        request = (content, charset, engine, seconds)
        answer = self._ask(request) or self._ask(request)
        if answer is None:
            raise ExtractionError("extractor crashed")
        text, problem = answer
        if problem:
            raise ExtractionError(problem)
        return text

    def _ask(self, request: tuple[bytes | str, str, str, float]) -> tuple[str, str] | None:
        """A text or what is wrong with the page; None where the process died."""
        process = self._process = self._process or self._start()
        assert process.stdin
        assert process.stdout
        try:
            pickle.dump(request, process.stdin, protocol=5)
            process.stdin.flush()
            answer: tuple[str, str] = pickle.load(process.stdout)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError):
            status = process.wait()
            self.close()
            what = "cleaning" if isinstance(request[0], str) else "extraction"
            return ("", f"{what} took too long") if status == -signal.SIGPROF else None
        return answer

    def _start(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "data_prep.extract.worker"]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def close(self) -> None:
        """End the process; it also ends by itself when its input does."""
        if self._process:
            self._process.kill()
            self._process.communicate()
            self._process = None


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """The child's side: answer pages until there are no more."""
    from data_prep.cleaning import normalise
    from data_prep.extract.html import extract

    first = True
    while True:
        try:
            content, charset, engine, seconds = pickle.load(requests)
        except EOFError:
            return
        answer: tuple[str, str]
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            text = content if isinstance(content, str) else extract(content, charset, engine)
            answer = normalise(text), ""
        except ExtractionError as error:
            answer = "", str(error)
        signal.setitimer(signal.ITIMER_PROF, 0)
        pickle.dump(answer, answers, protocol=5)
        answers.flush()
        if first:
            gc.freeze()  # what the parsers hold for good is not looked through again with every page
            first = False


def main() -> None:
    die_with_parent()
    answers: Any = sys.stdout.buffer
    sys.stdout = sys.stderr  # nothing that a library prints may get between the answers
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
