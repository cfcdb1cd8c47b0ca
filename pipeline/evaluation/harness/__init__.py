"""EleutherAI's lm-evaluation-harness over our models, with no export in between. It is an optional extra."""
