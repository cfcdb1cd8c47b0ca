"""An agent's sequences: values, steps, texts and pictures as one row of tokens. Nothing here needs torch."""
