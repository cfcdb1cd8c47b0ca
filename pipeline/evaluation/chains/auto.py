"""Auto-CoT (Zhang et al. 2022): examples for chains out of a pool of questions, one of each cluster.

Questions are clustered by embeddings. In each cluster those nearest to its centre come first, and the first
whose own zero-shot chain is simple enough becomes an example: 60 words of question, five steps of reasoning.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.chains.asking import Ask, Solved
from pipeline.evaluation.chains.finding import Kind
from pipeline.evaluation.chains.ways import Chain, Lengths, zero_shot

Vectors = NDArray[np.float64]
WORDS, STEPS = 60, 5
"""Most words of an example's question, and sentences of its reasoning (appendix of the paper)."""
ROUNDS = 300


def auto_chains(
    kind: Kind,
    questions: Sequence[str],
    vectors: Vectors,
    clusters: int,
    ask: Ask,
    seed: int = 0,
    lengths: Lengths = Lengths(),  # noqa: B008
) -> list[Chain]:
    """At most one example a cluster, in the order of the clusters; `vectors` [N, H] embed the questions."""
    centres = first_centres(vectors, clusters, seed)
    labels, centres = k_means(vectors, centres)
    solved = zero_shot(kind, lengths)(questions, ask)
    found = []
    for cluster, centre in enumerate(centres):
        members = np.flatnonzero(labels == cluster)
        distances = np.linalg.norm(vectors[members] - centre, axis=1)
        for index in members[np.argsort(distances, kind="stable")]:
            if is_simple(questions[index], solved[index], kind):
                rationale = " ".join(solved[index].chain.split())
                found.append(Chain(questions[index], rationale, solved[index].answer))
                break
    return found


def is_simple(question: str, solved: Solved, kind: Kind) -> bool:
    """Whether a question with its chain makes an example; a number must be in the chain's last sentence."""
    lines = [one for one in solved.chain.replace("\n\n", "\n").split("\n") if one.strip()]
    steps = solved.chain.count(". ") + 1 if len(lines) <= 1 else len(lines)
    chain = solved.chain.strip()
    if len(question.split()) > WORDS or steps > STEPS or not chain.endswith(".") or not solved.answer:
        return False
    last = chain.rstrip(".").rpartition(". ")[2]
    return kind != "number" or solved.answer in last or solved.answer in " ".join(chain.split()[-10:])


def first_centres(vectors: Vectors, clusters: int, seed: int) -> Vectors:
    """k-means++ (Arthur and Vassilvitskii 2007): each further centre is drawn by its squared distance."""
    random = np.random.default_rng(seed)
    chosen = [int(random.integers(len(vectors)))]
    while len(chosen) < clusters:
        gaps = ((vectors[:, None] - vectors[chosen]) ** 2).sum(axis=2).min(axis=1)
        if not gaps.any():
            break
        chosen.append(int(random.choice(len(vectors), p=gaps / gaps.sum())))
    return vectors[chosen]


def k_means(vectors: Vectors, centres: Vectors) -> tuple[NDArray[np.int64], Vectors]:
    """Lloyd's algorithm from given centres: the cluster [N] of each vector, and the last centres [K, H]."""
    labels = _nearest(vectors, centres)
    for _ in range(ROUNDS):
        centres = np.stack(
            [
                vectors[labels == one].mean(axis=0) if (labels == one).any() else centres[one]
                for one in range(len(centres))
            ]
        )
        again = _nearest(vectors, centres)
        if (again == labels).all():
            break
        labels = again
    return labels, centres


def _nearest(vectors: Vectors, centres: Vectors) -> NDArray[np.int64]:
    nearest: NDArray[np.int64] = ((vectors[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    return nearest
