"""What a model learns to predict. Batches are pure functions of samples of the token stream.

objective   what every kind is: batches, head, labels, loss, metrics
registry    the kinds by name
causal      GPT's causal LM, and prefix LM            spans       T5's span corruption
masked      BERT, RoBERTa and SpanBERT masking        sentences   BERT's and ALBERT's second tasks
replaced    ELECTRA's replaced tokens
denoising   BART's five kinds of noise, composable    losses      their loss functions
samples     what makes batches is given               special     what it knows of the vocabulary
draws       random numbers as hashes of what they are for
model       a recipe's model, with its objective's head

Noise is drawn from each sample's key, a hash of seed, dataset, epoch and sample: afresh at each visit, yet
the same whoever asks.
"""
