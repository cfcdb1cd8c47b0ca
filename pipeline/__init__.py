"""Models, objectives, batches, training, tuning and evaluation: the only package that knows torch."""

from pipeline import imports

imports.install()
