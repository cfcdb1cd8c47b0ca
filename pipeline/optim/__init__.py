"""Optimizers, a small file each, that update parameters of which every rank may hold a piece alone."""
