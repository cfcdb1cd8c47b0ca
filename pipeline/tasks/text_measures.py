"""How texts are measured beside their targets: equal, BLEU by sacrebleu, ROUGE by rouge-score."""

import re
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from pipeline.tasks.measures import Array, Measure, mean

Pairs = Sequence[tuple[str, str]]
"""Targets and what was said."""
SENTENCES = re.compile(r"(?<=[.!?])\s+")
ORDERS = 4


class Exact:
    """Equal to the target; a label that there is not is wrong, not left out."""

    main: ClassVar[str] = "exact_match"

    def of(self, pairs: Pairs) -> list[Measure]:
        """The share of equal texts."""
        return [mean("exact_match", [target == said for target, said in pairs])]

    def signature(self) -> str:
        """Nothing to say."""
        return ""


class Bleu:
    """Corpus BLEU of texts as they are, on sacrebleu's scale divided by 100."""

    main: ClassVar[str] = "bleu"

    def of(self, pairs: Pairs) -> list[Measure]:
        """From n-grams that are right and there, and the lengths of both sides."""
        from sacrebleu.metrics.bleu import BLEU

        scorer = BLEU(effective_order=True)
        rows = []
        for target, said in pairs:
            one = scorer.sentence_score(said, [target])
            rows.append([*one.counts, *one.totals, one.sys_len, one.ref_len])
        return [Measure("bleu", np.array(rows, np.float64).reshape(-1, 2 * ORDERS + 2), bleu)]

    def signature(self) -> str:
        """How sacrebleu was asked."""
        from sacrebleu.metrics.bleu import BLEU

        scorer = BLEU()
        scorer.corpus_score(["a"], [["a"]])
        return f"BLEU is sacrebleu's, divided by 100: {scorer.get_signature()}."


def bleu(sums: Array) -> Array:
    """sacrebleu's score of sums [..., 10]."""
    from sacrebleu.metrics.bleu import BLEU

    rows = np.atleast_2d(sums)
    scores = []
    for one in rows:
        counts = [round(value) for value in one]
        right, there = counts[:ORDERS], counts[ORDERS : 2 * ORDERS]
        scores.append(BLEU.compute_bleu(right, there, counts[-2], counts[-1]).score / 100)
    found = np.array(scores)
    return found if sums.ndim > 1 else found[0]


class Rouge:
    """ROUGE-1, -2 and -Lsum with stemming, the mean of F over rows."""

    main: ClassVar[str] = "rouge1"

    def of(self, pairs: Pairs) -> list[Measure]:
        """A mean each; sentences stand on lines of their own, as -Lsum wants it."""
        from rouge_score.rouge_scorer import RougeScorer

        kinds = ["rouge1", "rouge2", "rougeLsum"]
        scorer = RougeScorer(kinds, use_stemmer=True)
        rows = [scorer.score(*("\n".join(SENTENCES.split(one)) for one in pair)) for pair in pairs]
        return [mean(kind, [row[kind].fmeasure for row in rows]) for kind in kinds]

    def signature(self) -> str:
        """What package."""
        return "ROUGE is the package rouge-score's, with stemming; the mean of F over rows."


MEASURES: dict[str, Exact | Bleu | Rouge] = {"exact": Exact(), "bleu": Bleu(), "rouge": Rouge()}
"""By the word in a recipe."""
