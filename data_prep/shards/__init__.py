"""The last step: documents in their shuffled order, laid into blocks and shards."""
