"""Denoisers: what a noised picture was, by transformer blocks (Peebles and Xie 2023).

The published denoisers of DDPM, Imagen and DALL-E 2 are U-Nets; here it is a list of transformer blocks, as
every other model is, since that runs in every layout.

told       what a denoiser is told, as one vector and as tokens
block      a block whose norms that vector scales and shifts
denoiser   the list, from a noised picture to what is said of it
"""
