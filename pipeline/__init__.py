"""Models, objectives, batches, training, tuning and evaluation: the only package that knows torch."""
