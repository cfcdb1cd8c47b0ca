"""A task: one YAML file beside its rows.

    task: copa
    rows: copa.jsonl                    # JSON lines, a JSON array, or Parquet; beside this file
    question: "{{ query }}"             # a template, or the name of a column
    choices: choices
    answer: gold                        # the number of the right choice, or its text
    score: choices
    normalise: bytes
    few_shot: {shots: [0, 4], draws: 3}

A template is Jinja's, in a sandbox, over the columns of a row.
"""

from typing import Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator, model_validator

from data_prep.contract.settings import Settings

Scoring = Literal["choices", "greedy", "loss", "exact_match", "f1", "bleu", "rouge"]
Normalisation = Literal["sum", "characters", "bytes", "tokens", "unconditional"]


class FewShot(Settings):
    rows: str = ""
    """File of the examples; empty takes the task's own rows, but never the question itself."""
    shots: list[NonNegativeInt] = Field(default_factory=lambda: [0], min_length=1)
    """Numbers of examples before each question; each is measured."""
    draws: PositiveInt = 1
    """How often the examples are drawn anew; scores are means over draws, with their spread."""
    take: Literal["random", "first"] = "random"
    """Examples drawn by the seed, or the first ones of the file for every question."""
    separator: str = "\n\n"
    """What stands behind each example."""


class Extract(Settings):
    """How an answer is found in a generated text: these steps in the order of the fields."""

    after: str = ""
    """Look only behind the last of these words, where they are there."""
    pattern: str = ""
    """A regular expression; its first group is the answer, or the whole where there is none."""
    take: Literal["first", "last"] = "first"
    """Which match counts."""
    remove: list[str] = Field(default_factory=list)
    """Regular expressions; what they match is removed from answer and references."""
    ignore_case: bool = False
    """Compare in lower case."""
    ignore_punctuation: bool = False
    """Compare without ASCII punctuation."""
    strip: bool = True
    """Compare without white space at both ends."""


class Generate(Settings):
    """How a text is generated."""

    max_tokens: PositiveInt = 32
    """Longest answer."""
    stop: list[str] = Field(default_factory=lambda: ["\n"])
    """Texts that end an answer; they are not part of it."""
    temperature: float = Field(0.0, ge=0)
    """0 takes the likeliest token."""
    top_k: NonNegativeInt = 0
    """Draw from so many likeliest tokens; 0 from all."""
    top_p: PositiveFloat = 1.0
    """Draw from the fewest tokens with this much probability."""

    @field_validator("stop")
    @classmethod
    def _not_empty(cls, stop: list[str]) -> list[str]:
        if "" in stop:
            raise ValueError("an empty text ends every answer before it begins")
        return stop


class Chains(Settings):
    """Chains of thought (`pipeline.evaluation.chains`)."""

    way: Literal["direct", "few_shot", "zero_shot", "auto", "least_to_most"]
    """The answer at once; a chain behind examples with their rationale, behind "Let's think step by step.",
    or behind examples found among the few-shot rows without their answers (auto-CoT); or easier questions
    first, behind examples with their decomposition."""
    kind: Literal["number", "yes_no", "letter", "letters", "text"] = "text"
    """What an answer is, and so how it is found in what is said."""
    paths: PositiveInt = 1
    """More than one: so many drawn chains vote (self-consistency)."""
    temperature: PositiveFloat = 0.7
    """Of drawn chains."""
    top_k: NonNegativeInt = 40
    """Of drawn chains: draw from so many likeliest tokens; 0 from all."""
    chain_tokens: PositiveInt = 128
    """Longest chain."""
    answer_tokens: PositiveInt = 32
    """Longest answer behind one."""
    clusters: PositiveInt = 8
    """Of auto: clusters of questions, each of which gives one example."""
    parts: PositiveInt = 8
    """Of least_to_most: at most so many easier questions before the whole."""


class Task(Settings):
    task: str = Field(min_length=1, max_length=100)
    """Its name."""
    about: str = ""
    """What it asks, in a sentence for the report."""
    rows: str
    """Its file of rows, beside the task's own."""
    question: str = ""
    """What stands before the answer."""
    contexts: str | list[str] | None = None
    """In the place of choices: one text for each to stand before the continuation."""
    continuation: str = ""
    """What stands behind the contexts; the right one makes it likeliest."""
    choices: str | list[str] | None = None
    """What there is to choose from: a column or a template of a list, or templates."""
    answer: str | int
    """The right choice by number or text; else the text, or texts, that count as right."""
    neutral: str = ""
    """What stands before a choice whose likelihood is taken without the question."""
    description: str = ""
    """What stands before everything, examples too."""
    delimiter: str = " "
    """What stands between question and answer."""
    score: Scoring
    """By the likelihood of choices; by whether the answer is the likeliest text; by the loss on the answer;
    else by comparing what is generated."""
    normalise: Normalisation = "sum"
    """How a choice's log-likelihood counts: as it is, by its length, or less its log-likelihood without the
    question. The others but the last are told too."""
    few_shot: FewShot = FewShot()
    """Examples before each question."""
    extract: Extract = Extract()
    """How an answer is found in what is generated."""
    generate: Generate = Generate()
    """How it is generated."""
    chain: Chains | None = None
    """A way of reasoning before the answer, for score exact_match."""
    rationale: str = ""
    """Of an example: how one gets to its answer."""
    decomposition: str = ""
    """Of an example: the easier questions to answer before it, one a line."""
    instruct: bool = False
    """Whether the question is an instruction, which a tuned model is given in its chat template."""
    level: PositiveInt | None = None
    """How hard it is among its suite, from 1; the report lists tasks by it."""
    limit: PositiveInt | None = None
    """Ask the first so many questions alone."""

    @model_validator(mode="after")
    def _has_its_parts(self) -> Self:
        if self.score == "choices" and self.choices is None and self.contexts is None:
            raise ValueError("score choices needs choices")
        if self.contexts is not None and (self.choices is not None or self.score != "choices"):
            raise ValueError("contexts are for score choices, and stand in the place of choices")
        if (self.contexts is None) != (not self.continuation):
            raise ValueError("contexts and a continuation to stand behind them go together")
        if self.chain is not None and self.score != "exact_match":
            raise ValueError("a chain of thought needs score exact_match")
        if self.chain is not None and max(self.few_shot.shots) and not self.few_shot.rows:
            raise ValueError("examples of chains need few_shot.rows, or a question would be its own example")
        apart = self.chain is not None and self.chain.way == "least_to_most"
        if apart and max(self.few_shot.shots) and not self.decomposition:
            raise ValueError("examples of least_to_most need decomposition, the easier questions one a line")
        if self.score == "loss" and self.few_shot.shots != [0]:
            raise ValueError("score loss takes no examples; few_shot.shots is [0]")
        return self

    @property
    def generates(self) -> bool:
        """Whether a model answers in its own words."""
        return self.score in ("exact_match", "f1", "bleu", "rouge")
