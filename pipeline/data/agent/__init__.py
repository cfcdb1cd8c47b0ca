"""Episodes of tasks on disk, and the batches of an agent over episodes, texts and pictures."""
