"""How much a generated text and references have in common: F1 of words, ROUGE, BLEU.

F1 is SQuAD's (Rajpurkar et al. 2016): words in lower case without punctuation and articles. ROUGE and BLEU
are those of rouge-score and sacrebleu, the definitions that papers report.
"""

from collections.abc import Sequence
from typing import Any

from data_prep.contract.settings import InputError
from pipeline.tasks.squad import word_f1

ROUGE = ("rouge1", "rouge2", "rougeL")


def squad_f1(answer: str, references: Sequence[str]) -> float:
    """The largest F1 of words with any of the references.

    >>> squad_f1("the red car", ["a red bus"])
    0.5
    """
    return max(word_f1(answer, one) for one in references)


def rouge(answer: str, references: Sequence[str]) -> dict[str, float]:
    """F of ROUGE-1, -2 and -L with stems, each the largest over the references."""
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError:
        raise _missing("rouge", "rouge-score") from None
    scores = RougeScorer(ROUGE, use_stemmer=True).score_multi(list(references), answer)
    return {name: float(scores[name].fmeasure) for name in ROUGE}


def bleu(answers: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """BLEU of a corpus, from 0 to 1; each answer may have several references."""
    return float(_sacrebleu().corpus_bleu(list(answers), _columns(references)).score) / 100


def sentence_bleu(answer: str, references: Sequence[str]) -> float:
    """BLEU of one answer, smoothed, from 0 to 1."""
    return float(_sacrebleu().sentence_bleu(answer, list(references)).score) / 100


def _columns(references: Sequence[Sequence[str]]) -> list[list[str]]:
    """The first reference of every answer, then the second, ..., an answer's first where it has no more."""
    most = max(map(len, references))
    return [[one[min(place, len(one) - 1)] for one in references] for place in range(most)]


def _sacrebleu() -> Any:
    try:
        import sacrebleu
    except ImportError:
        raise _missing("bleu", "sacrebleu") from None
    return sacrebleu


def _missing(score: str, package: str) -> InputError:
    return InputError(
        f"score {score} needs {package}, which is not installed; pip install '.[finetune]' has it"
    )
