"""Principles that a model is held to, and the words in which another, the critic, is asked about them.

The defaults follow the order of Bai et al. 2022 (Constitutional AI), sections 3.1 and 4.1: a critique, a
revision, and a choice between (A) and (B). `{prompt}`, `{answer}`, `{principle}`, `{first}` and `{second}`
are filled in; a template may leave any of them out.
"""

from typing import Self

from pydantic import Field, model_validator

from data_prep.contract.settings import Settings


class PrincipleConfig(Settings):
    """One principle."""

    name: str = Field(min_length=1)
    """What reports call it."""
    text: str = Field(min_length=1)
    """What the critic reads."""
    breach: str | None = None
    """The rule that finds where an answer breaks it, and makes lessons for a critic; null has none."""


class ConstitutionConfig(Settings):
    """Principles and the templates of what the critic is asked."""

    principles: tuple[PrincipleConfig, ...] = ()
    """One is drawn for each revision and each comparison."""
    critique: str = "{prompt}\n\nAnswer: {answer}\n\nDoes this answer keep to the principle? {principle}"
    """The critic's first question; it says in its own words what is wrong."""
    revision: str = "Write the answer again so that it keeps to the principle: {principle}"
    """The second, in the same conversation; what it says is the revised answer."""
    comparison: str = "{prompt}\n\n{principle}\n(A) {first}\n(B) {second}\nThe better answer is:"
    """What is asked about two answers."""
    choices: tuple[str, str] = ("(A)", "(B)")
    """What the critic can say to it; their log-probabilities are the label."""
    broken: str = "No, it does not."
    """What a critic is taught to say of an answer that breaks the principle."""
    kept: str = "Yes, it does."
    """The same of one that keeps to it."""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        names = [one.name for one in self.principles]
        if len(set(names)) != len(names):
            raise ValueError("two principles have the same name")
        if self.choices[0] == self.choices[1]:
            raise ValueError("the two choices are the same")
        return self
