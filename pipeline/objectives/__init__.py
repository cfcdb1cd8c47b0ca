"""What a model learns to predict, as pure functions from samples of the token stream to batches.

samples     what every objective is given             special     what it knows of the vocabulary
draws       random numbers as hashes of what they are for
causal      GPT's causal LM, and prefix LM            spans       T5's span corruption
masked      BERT, RoBERTa and SpanBERT masking        sentences   BERT's and ALBERT's second tasks
denoising   BART's five kinds of noise, composable    build       the recipe's `objective` section

Noise is drawn from each sample's key, a hash of seed, dataset, epoch and sample: afresh at each visit, yet
the same whoever asks.
"""
