"""Raw corpora to tokenized datasets: the only package that knows Ray, and none that knows torch."""
