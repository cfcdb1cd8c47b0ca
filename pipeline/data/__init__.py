"""From a dataset to the batches of a training loop: exact order, exact resume, any layout.

batches       what a training loop asks for, and the keys of a batch
pretraining   the `BatchSource` of pretraining: batches made ahead in a thread or in worker processes
maker         the batches of a step, made here and now: recipe in, arrays out
mixture       which dataset a sample is from        order     which tokens of it a sample holds
stream        sample numbers in, samples out        windows   blocks laid end to end and cut into slots
packing       documents kept whole where they fit   reader    blocks by number, checked when first read
remote        datasets at an address, with a cache  workers   processes that make batches
tables        what objectives know of a tokenizer   provenance  a step traced back to its documents

Sample i of epoch e is a function of (seed, e, i, manifest, sequence length, mixture) and of nothing else: not
of ranks, workers, nodes or of what was read before. The state of a loader is the number of the next step.

    source = PretrainingBatches(config, "runs/quickstart/dataset", data_rank=0, data_size=1)
    for batch in source.step(1_000_000): ...

The objectives in `pipeline.objectives` turn samples into batches and know nothing of files.
"""
