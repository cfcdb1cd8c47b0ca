"""Feedback by a model and not by people (Bai et al. 2022, Constitutional AI; Lee et al. 2023, RLAIF).

breaches    where a text breaks a principle, and texts made to break it: the stated measure
questions   what a critic is asked: critique, revision, comparison
lessons     conversations that teach a small critic to answer these
feedback    labels by the log-probabilities of (A) and (B), in both orders
revising    answers, critiques and revisions
audit       the share of a run's answers that break a principle
"""
