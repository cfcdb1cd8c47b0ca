"""From text to tokens: training the SentencePiece model, and encoding with it."""
