"""From noise to pictures.

samplers   the steps: DDPM and DDIM, thresholds      guided    what a denoiser says, guided
loading    a denoiser and its text encoder from runs
"""
