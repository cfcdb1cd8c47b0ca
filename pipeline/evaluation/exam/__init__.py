"""The exam: graded tasks made of the very text that a dataset holds out, from easy to hard.

A task is a function from held-out text to rows, and a line in `make.PAPERS`. Rows and task files lie in the
evaluation's folder afterwards, and are a suite as any other.
"""
