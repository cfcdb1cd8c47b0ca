"""What a critic is asked, as conversations: pure functions of a constitution, a principle and answers."""

import re

from pipeline.config import ConstitutionConfig, PrincipleConfig
from pipeline.prompting.chat import Message
from pipeline.tuning.instructions import Conversation

PLACE = re.compile(r"\{(prompt|answer|principle|first|second)\}")


def filled(template: str, **values: str) -> str:
    """A template with its places filled; what is filled in is not looked at again.

    >>> filled("{principle} {answer}?", principle="Be {answer}.", answer="x")
    'Be {answer}. x?'
    """
    return PLACE.sub(lambda found: values.get(found[1], found[0]), template)


def as_text(prompt: Conversation) -> str:
    """What was said before an answer: the only message, or each behind its role.

    >>> as_text((Message("user", "Hi."),))
    'Hi.'
    """
    if len(prompt) == 1:
        return prompt[0].content
    return "\n".join(f"{one.role.capitalize()}: {one.content}" for one in prompt)


def critique(
    constitution: ConstitutionConfig, principle: PrincipleConfig, prompt: Conversation, answer: str
) -> Conversation:
    """The question what is wrong with an answer."""
    values = {"prompt": as_text(prompt), "answer": answer, "principle": principle.text}
    return (Message("user", filled(constitution.critique, **values)),)


def revision(
    constitution: ConstitutionConfig, principle: PrincipleConfig, asked: Conversation, said: str
) -> Conversation:
    """The request for a better answer, behind the critique that was `asked` for and `said`."""
    wish = filled(constitution.revision, principle=principle.text)
    return (*asked, Message("assistant", said), Message("user", wish))


def comparison(
    constitution: ConstitutionConfig,
    principle: PrincipleConfig,
    prompt: Conversation,
    first: str,
    second: str,
) -> Conversation:
    """The question which of two answers is better."""
    values = {"prompt": as_text(prompt), "principle": principle.text, "first": first, "second": second}
    return (Message("user", filled(constitution.comparison, **values)),)
