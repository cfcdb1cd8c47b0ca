"""To and from Hugging Face folders: the same numbers under other names, and the proof that they are."""
