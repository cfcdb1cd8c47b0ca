"""What the packages agree on, and all that `pipeline` may import of `data_prep`.

settings     the strict base of every configuration section, and `InputError` for what a user got wrong
receipt      what a finished stage leaves behind, and the fingerprints that decide whether it may be skipped
lock         one process at a time in a stage's folder
family       processes that end with the one that started them
vocabulary   the reserved tokens, and tokenizers of ours and published ones behind one interface
published    a published tokenizer as one file     pieces      what reads it: SentencePiece or tokenizers
dataset      the manifest, the block table and the tar shards: one writer, one reader
reading      the one checked reader of each format that comes from outside, and checks of names from there
stages       what a stage is, and the base of its kinds      report   what one has to say, as plain data

Nothing here imports Ray or torch.
"""
