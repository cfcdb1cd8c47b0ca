"""Denoisers: what a noised picture was, by transformer blocks (Peebles and Xie 2023).

The published denoisers of DDPM, Imagen and DALL-E 2 are U-Nets; here it is a list of transformer blocks, as
every other model is, since that runs in every layout. So the presets of published sizes are those of DiT
alone: Imagen's U-Nets have 2 billion, 600 and 400 million parameters beside the encoder of T5-XXL (Saharia et
al. 2022), DALL-E 2's 3.5 billion, 700 and 300 million (Ramesh et al. 2022).

told       what a denoiser is told, as one vector and as tokens
block      a block whose norms that vector scales and shifts
denoiser   the list, from a noised picture to what is said of it
"""
