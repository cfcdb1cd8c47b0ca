"""How long a training takes, what fits and what it costs, computed before anything runs.

The step is a model of its parts: matrix products, attention, what memory bandwidth bounds, exchanges between
tensor, pipeline and data parallel ranks, the pipeline's bubble, the optimizer, waiting for the slowest host.
What is not from a data sheet has its source where it is defined, and `calibration` says what was fitted.
"""
