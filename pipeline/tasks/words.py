"""Baselines that count words: n-grams weighed by how rare they are, and a linear model (scikit-learn)."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.contract.settings import InputError

Texts = Sequence[tuple[str, str]]
"""First and second texts; the second is empty where there is one."""


def need(*packages: str) -> None:
    """`InputError` where a library of measures is not installed."""
    missing = [one for one in packages if find_spec(one) is None]
    if missing:
        raise InputError(
            f"fine-tuning is measured with {', '.join(missing)}, which is not installed; "
            "pip install 'bloomery[finetune]'"
        )


def classify(train: Texts, labels: Sequence[int], texts: Texts) -> tuple[NDArray[np.int64], Any]:
    """Class and probabilities [N, C] of each text by logistic regression on bags of words and word pairs."""
    from sklearn.linear_model import LogisticRegression

    known, asked = _bags(train, texts)
    model = LogisticRegression(max_iter=1000, C=1.0 if not train[0][1] else 0.3)
    model.fit(known, labels)
    shares = np.zeros((len(texts), max(labels) + 1))
    shares[:, model.classes_] = model.predict_proba(asked)
    return shares.argmax(1), shares


def regress(train: Texts, values: Sequence[float], texts: Texts) -> NDArray[np.float64]:
    """A value of each text by ridge regression on the same."""
    from sklearn.linear_model import Ridge

    known, asked = _bags(train, texts)
    found: NDArray[np.float64] = Ridge(alpha=1.0).fit(known, values).predict(asked)
    return found


def _bags(train: Texts, texts: Texts) -> tuple[Any, Any]:
    """Bags of words; of pairs what both texts have and what one of them has, and how alike they are."""
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import TfidfVectorizer

    pairs = any(second for _, second in train)
    grams = TfidfVectorizer(
        ngram_range=(1, 1 if pairs else 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b|[^\w\s]"
    )
    grams.fit([text for pair in train for text in pair if text])

    def bag(some: Texts) -> Any:
        first = grams.transform([one for one, _ in some])
        if not pairs:
            return first
        second = grams.transform([two for _, two in some])
        both = first.multiply(second)
        alike = csr_matrix(both.sum(1))
        return hstack([both, abs(first - second), alike * 3]).tocsr()

    return bag(train), bag(texts)
