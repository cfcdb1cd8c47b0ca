"""What may be asked of a server, so that one client cannot take it from the others."""

from dataclasses import dataclass

BODY_BYTES = 1 << 20
"""Largest body of a request."""
BODY_SECONDS = 30.0
"""In so long a body must have come."""
CHOICES = 8
"""Most answers that one request asks for, to all of its prompts together."""
LIKELIEST = 20
"""Most log-probabilities beside that of the id that was drawn, as in OpenAI's API."""
STOPS, STOP_LENGTH = 4, 200
"""Most stop sequences and characters of each."""
CHARACTERS_A_TOKEN = 64
"""A text of more characters for each id that the model can read is refused before it is cut into ids."""


@dataclass(frozen=True)
class Limits:
    """Those that whoever starts the server sets."""

    slots: int = 16
    """Answers that are under way at once."""
    queue: int = 64
    """Answers that wait for a slot; one more is refused with status 429."""
    tokens: int = 1024
    """Most ids of an answer, and as many as it has where a request does not say."""
    seconds: float = 300.0
    """An answer that is not done in so long, waiting included, ends as it is."""
