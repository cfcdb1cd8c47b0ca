"""Extractive question answering: the stretch of a text that answers a question, by SQuAD's rules.

Long texts are read in windows that begin every `stride` tokens. In training a window without the whole answer
wants the first token, <cls>, as does every window of a question that has no answer (Devlin et al. 2019,
sections 4.2 and 4.3). An answer is the best pair of a start and an end in the text, over all windows; a token
in several windows counts in the one where most stands around it. It is cut from the text's own characters. No
answer is said where the least of the windows' scores of <cls> is above the best answer's by a threshold.
"""

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from data_prep.contract.reading import printable
from data_prep.contract.settings import InputError
from pipeline.objectives.batches import Batch
from pipeline.tasks.measures import Measure, mean
from pipeline.tasks.rows import Row
from pipeline.tasks.settings import TaskSettings
from pipeline.tasks.squad import normalised, word_f1
from pipeline.tasks.task import Feature, Learned, Prediction, Task

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.models.build import Builder
    from pipeline.models.layer import Flow, Layer

SENTENCE = re.compile(r"[^.!?\n]+[.!?]?")
FEWEST = 8
"""Tokens of a text that a window must have room for."""


class AnswersSettings(TaskSettings):
    kind: Literal["question_answering"] = "question_answering"
    question: str = "question"
    """Column of the question."""
    context: str = "context"
    """Column of the text."""
    answers: str = "answers"
    """Column of answers: a list of {text, answer_start}, or {text: [...], answer_start: [...]}; none where
    there is no answer. With `start` it is the answer's text."""
    start: str = ""
    """Column of the character where the answer begins, in plain columns; empty or below 0 for none."""
    question_tokens: int = Field(64, ge=1)
    """Most tokens of a question; the rest is cut."""
    stride: int = Field(128, ge=1)
    """Tokens from the beginning of one window to that of the next; at most what a window has room for."""
    answer_tokens: int = Field(30, ge=1)
    """Most tokens of an answer."""
    candidates: int = Field(20, ge=1)
    """Starts and ends that are combined."""
    threshold: float = 0.0
    """No answer is said where its score is above the best one's by more than this."""


class Answer(NamedTuple):
    """A text and the character of the context where it begins."""

    text: str
    start: int


class Window(NamedTuple):
    """Part of a context in a sample: what stands at its tokens."""

    front: int
    """The first token's place in the sample."""
    places: tuple[tuple[int, int], ...]
    """Characters of each token."""
    best: tuple[bool, ...]
    """Whether the token has most around it in this window."""


class QuestionAnswering(Task):
    """Two cross-entropies, of where the answer starts and where it ends."""

    name: ClassVar[str] = "question_answering"
    settings_class: ClassVar[type[TaskSettings]] = AnswersSettings
    architectures: ClassVar[tuple[str, ...]] = ("encoder",)
    main = "f1"
    form = "spans"
    settings: AnswersSettings

    def __init__(self, settings: AnswersSettings, learned: Learned, *others: Any) -> None:
        super().__init__(settings, learned, *others)
        self.settings = settings
        self.unanswerable = bool(learned["unanswerable"])
        room = self.frame.room(pair=True) - settings.question_tokens
        if room < FEWEST:
            raise InputError(
                f"data.sequence_length {self.frame.length} leaves {room} tokens for the text behind a "
                f"question of task.question_tokens {settings.question_tokens}; {FEWEST} are needed"
            )

    @classmethod
    def learn(cls, settings: TaskSettings, rows: Sequence[Row], where: str) -> Learned:
        """How many questions have no answer, which says whether no answer can be said."""
        assert isinstance(settings, AnswersSettings)
        without = sum(not answers_of(settings, row) for row in rows)
        if without == len(rows):
            raise InputError(f"{where}: no question has an answer; some are needed to learn from")
        return {"unanswerable": without, "questions": len(rows)}

    @classmethod
    def group(cls, settings: TaskSettings, row: Row) -> tuple[str, str]:
        """Questions about one text."""
        assert isinstance(settings, AnswersSettings)
        return row.text(settings.context), ""

    def features(self, row: Row, index: int, wanted: bool = True) -> list[Feature]:
        """A window each."""
        settings = self.settings
        # The characters of answers count from the context's first one: it is taken as it is.
        question, context = row.text(settings.question), context_of(settings, row)
        ids = self.vocabulary.encode(question)[: settings.question_tokens]
        placed = self.vocabulary.encode_placed(context)
        if not placed:
            raise InputError(f"{row.where}: {settings.context} is empty; a text is expected")
        room = self.frame.room(pair=True) - len(ids)
        starts = window_starts(len(placed), room, min(settings.stride, room))
        best = most_around(starts, len(placed), room)
        span = self._span(row, placed) if wanted else None
        found = []
        for number, start in enumerate(starts):
            part = placed[start : start + room]
            framed, _ = self.frame.make(ids, [one.id for one in part])
            places = tuple((one.start, one.end) for one in part)
            own = tuple(bool(one == number) for one in best[start : start + room])
            target = (0, 0)
            if span and start <= span[0] and span[1] < start + room:
                target = (framed.second + span[0] - start, framed.second + span[1] - start)
            found.append(Feature(index, (framed,), target, about=Window(framed.second, places, own)))
        return found

    def _span(self, row: Row, placed: Sequence[Any]) -> tuple[int, int] | None:
        """The first and last token that spell the first answer; None without one."""
        answers = answers_of(self.settings, row)
        if not answers:
            if not self.unanswerable:
                raise InputError(
                    f"{row.where}: a question without an answer, and no training row has one; such a model "
                    "always answers"
                )
            return None
        text, start = answers[0]
        inside = [
            place for place, one in enumerate(placed) if one.end > start and one.start < start + len(text)
        ]
        return (inside[0], inside[-1]) if inside else None

    @property
    def outputs(self) -> int:
        """Starts and ends."""
        return 2

    @property
    def labels(self) -> tuple[str, ...]:
        """Where answers start and end [B], and which tokens are no padding [B, S]."""
        return ("targets", "ends", "weights", "seen")

    @property
    def metrics(self) -> tuple[str, ...]:
        """Of training windows."""
        return ("exact_spans",)

    def head(self, build: "Builder") -> "list[Layer]":
        """Scores of every token."""
        from pipeline.tasks.heads import token_head

        return token_head(build, self.outputs)

    def head_parameters(self, model: Any) -> int:
        """One linear layer."""
        return self.outputs * (int(model.hidden_size) + 1)

    def targets(self, features: Sequence[Feature], width: int) -> Batch:
        """Starts, ends and what is there."""
        seen = np.array([[place < one.length for place in range(width)] for one in features], np.int64)
        starts, ends = (np.array([one.target[side] for one in features], np.int64) for side in (0, 1))
        return {"targets": starts, "ends": ends, "seen": seen}

    def __call__(self, outputs: "Flow", labels: "Flow") -> "tuple[Tensor, dict[str, Tensor]]":
        """The mean of both cross-entropies over the tokens that are there."""
        import torch.nn.functional as F

        scores_BS2 = outputs["scores"].transpose(0, 1).float()
        scores_BS2 = scores_BS2.masked_fill(labels["seen"].unsqueeze(2) == 0, -1e9)
        weights_B = labels["weights"]
        wanted = (labels["targets"], labels["ends"])
        losses = [
            F.cross_entropy(scores_BS2[:, :, side], one, reduction="none") for side, one in enumerate(wanted)
        ]
        found = scores_BS2.detach().argmax(1)
        exact_B = ((found[:, 0] == wanted[0]) & (found[:, 1] == wanted[1])).float()
        total = ((losses[0] + losses[1]) / 2 * weights_B).sum()
        return total, {"exact_spans": (exact_B * weights_B).sum()}

    def raw(self, scores: "Tensor", features: Sequence[Feature]) -> "list[NDArray[np.float32]]":
        """[length, 2] of each window."""
        whole = scores.transpose(0, 1).float().cpu().numpy()
        return [whole[line, : one.length] for line, one in enumerate(features)]

    def predictions(
        self, rows: Sequence[Row], features: Sequence[Feature], raw: Sequence[NDArray[np.float32]]
    ) -> list[Prediction]:
        """The best answer of each row's windows, with its probability among the candidates."""
        by_row: dict[int, list[tuple[Window, NDArray[np.float32]]]] = {}
        for one, scores in zip(features, raw, strict=True):
            by_row.setdefault(one.row, []).append((one.about, scores))
        return [self._best(context_of(self.settings, row), by_row[index]) for index, row in enumerate(rows)]

    def _best(self, context: str, windows: list[tuple[Window, NDArray[np.float32]]]) -> Prediction:
        found: dict[str, tuple[float, int]] = {}
        for window, scores in windows:
            for score, start, end in spans(window, scores, self.settings):
                text = context[start:end]
                if text not in found or score > found[text][0]:
                    found[text] = (score, start)
        best = sorted(found.items(), key=lambda one: -one[1][0])[: self.settings.candidates]
        nothing = float(min(scores[0, 0] + scores[0, 1] for _, scores in windows))
        text, (score, start) = best[0] if best else ("", (-1e9, 0))
        scores_all = np.array([one[1][0] for one in best] + ([nothing] if self.unanswerable else []))
        shares = np.exp(scores_all - scores_all.max()) if len(scores_all) else np.zeros(1)
        shares = shares / shares.sum()
        says = {"answer": text, "start": start, "score": float(shares[0])}
        margin = nothing - score
        if self.unanswerable:
            says |= {"no_answer_score": float(shares[-1]), "no_answer_margin": margin, "best_answer": text}
            if margin > self.settings.threshold:
                says |= {"answer": "", "start": -1, "score": float(shares[-1])}
        return says

    def measures(self, rows: Sequence[Row], predictions: Sequence[Prediction]) -> list[Measure]:
        """Exact match and F1 of words, the best over all answers that are given."""
        pairs = [
            score_of(one["answer"], answers_of(self.settings, row))
            for row, one in zip(rows, predictions, strict=True)
        ]
        return [
            mean("f1", [overlap for _, overlap in pairs]),
            mean("exact_match", [exact for exact, _ in pairs]),
        ]

    def baselines(self, train: Sequence[Row], rows: Sequence[Row]) -> dict[str, list[Prediction]]:
        """The sentence that shares most words with the question; no answer, where there may be none."""
        del train
        found = {"nearest sentence": [{"answer": self._nearest(row), "score": 0.0} for row in rows]}
        if self.unanswerable:
            found["never an answer"] = [{"answer": "", "score": 0.0}] * len(rows)
        return found

    def _nearest(self, row: Row) -> str:
        asked = set(normalised(row.text(self.settings.question)).split())
        sentences = [one.strip() for one in SENTENCE.findall(context_of(self.settings, row)) if one.strip()]
        return max(sentences, key=lambda one: len(asked & set(normalised(one).split())), default="")

    def details(self, rows: Sequence[Row], predictions: Sequence[Prediction]) -> dict[str, Any]:
        """Figures of questions with and without an answer, and the best threshold for these very rows."""
        if not self.unanswerable:
            return {}
        answers = [answers_of(self.settings, row) for row in rows]
        table = []
        for name, kept in (("with an answer", True), ("without", False)):
            scored = [
                score_of(one["answer"], wanted)
                for one, wanted in zip(predictions, answers, strict=True)
                if bool(wanted) is kept
            ]
            if scored:
                exact, overlap = (float(np.mean(side)) for side in zip(*scored, strict=True))
                table.append([name, f"{overlap:.4f}", f"{exact:.4f}", str(len(scored))])
        best, threshold = best_threshold(predictions, answers)
        said = (
            f"With no answer said above a margin of {threshold:.3f}, chosen on these very rows, F1 is "
            f"{best:.4f}; task.threshold is {self.settings.threshold:g}."
        )
        return {"table": {"head": ["questions", "F1", "exact match", "rows"], "rows": table}, "said": said}

    def compare(self, row: Row, prediction: Prediction) -> tuple[float, str, str]:
        """Wrong by what F1 lacks, the surest first."""
        wanted = answers_of(self.settings, row)
        _, overlap = score_of(prediction["answer"], wanted)
        texts = " | ".join(dict.fromkeys(one.text for one in wanted)) or "(no answer)"
        return (1 - overlap) * prediction["score"], texts, prediction["answer"] or "(no answer)"

    def show(self, row: Row) -> str:
        """The question and the text."""
        return f"{row.text(self.settings.question)}\n\n{context_of(self.settings, row)}"


def context_of(settings: AnswersSettings, row: Row) -> str:
    """The text, character by character as it is."""
    row.text(settings.context)  # refuses what is none
    return str(row.cell(settings.context))


def answers_of(settings: AnswersSettings, row: Row) -> list[Answer]:
    """A row's answers; none where the question has none. `InputError` where one is not in the text."""
    context, found = context_of(settings, row), []
    for text, start in _said(settings, row):
        if not isinstance(text, str) or type(start) is not int:
            raise row.wrong(settings.answers, (text, start), "a text and the character where it begins")
        if not text:
            continue
        if not 0 <= start < len(context):
            raise InputError(
                f"{row.where}: the answer {printable(text)[:60]!r} begins at character {start} of a text of "
                f"{len(context)}"
            )
        found.append(Answer(text, start))
    return found


def _said(settings: AnswersSettings, row: Row) -> Iterator[tuple[Any, Any]]:
    said = row.cell(settings.answers)
    if settings.start:
        start = row.values.get(settings.start)
        if said in (None, "") or start in (None, ""):
            return
        number = row.number(settings.start)
        if number >= 0:
            yield said, int(number)
    elif isinstance(said, dict):
        texts, starts = said.get("text"), said.get("answer_start")
        if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
            raise row.wrong(settings.answers, said, "lists of texts and of where they begin are expected")
        yield from zip(texts, starts, strict=True)
    elif isinstance(said, list):
        for one in said:
            if not isinstance(one, dict):
                raise row.wrong(settings.answers, one, "an object of text and answer_start is expected")
            yield one.get("text"), one.get("answer_start")
    else:
        raise row.wrong(settings.answers, said, "a list of answers is expected")


def window_starts(count: int, room: int, stride: int) -> list[int]:
    """Where windows of `room` tokens begin so that all of `count` are in one.

    >>> window_starts(10, 4, 3)
    [0, 3, 6]
    """
    found = [0]
    while found[-1] + room < count:
        found.append(found[-1] + stride)
    return found


def most_around(starts: Sequence[int], count: int, room: int) -> NDArray[np.int64]:
    """[count] the window where a token has most around it: the lesser side, and a little for long windows.

    >>> most_around([0, 3], 6, 4).tolist()
    [0, 0, 0, 0, 1, 1]
    """
    tokens = np.arange(count)
    scores = []
    for start in starts:
        length = min(room, count - start)
        left, right = tokens - start, start + length - 1 - tokens
        around = np.minimum(left, right) + 0.01 * length
        scores.append(np.where((left >= 0) & (right >= 0), around, -np.inf))
    found: NDArray[np.int64] = np.argmax(np.stack(scores), axis=0)
    return found


def spans(
    window: Window, scores: NDArray[np.float32], settings: AnswersSettings
) -> Iterator[tuple[float, int, int]]:
    """Score, first character and end of the answers that the best starts and ends of a window make."""
    size = len(window.places)
    starts, ends = (scores[window.front : window.front + size, side] for side in (0, 1))
    own = np.array(window.best)
    firsts = np.argsort(-np.where(own, starts, -np.inf), kind="stable")[: settings.candidates]
    lasts = np.argsort(-ends, kind="stable")[: settings.candidates]
    for first in firsts:
        for last in lasts:
            if own[first] and first <= last < first + settings.answer_tokens:
                score = float(starts[first] + ends[last])
                yield score, window.places[first][0], window.places[last][1]


def score_of(said: str, wanted: Sequence[Answer]) -> tuple[float, float]:
    """Exact match and F1 of words, the best over the answers; where there is none, 1 for saying none."""
    if not wanted:
        return float(not said), float(not said)
    scores = [(float(normalised(said) == normalised(one.text)), word_f1(said, one.text)) for one in wanted]
    return max(exact for exact, _ in scores), max(overlap for _, overlap in scores)


def best_threshold(
    predictions: Sequence[Prediction], answers: Sequence[Sequence[Answer]]
) -> tuple[float, float]:
    """The best F1 that any threshold for no answer gives on some rows, and that threshold."""
    rows = sorted(
        (one["no_answer_margin"], score_of(one["best_answer"], wanted)[1], float(not wanted))
        for one, wanted in zip(predictions, answers, strict=True)
    )
    # Below the least margin nothing is answered; each row that is passed is answered.
    total = sum(nothing for _, _, nothing in rows)
    best, threshold = total, rows[0][0] - 1.0
    for margin, answered, nothing in rows:
        total += answered - nothing
        if total > best:
            best, threshold = total, margin
    return best / len(rows), threshold
