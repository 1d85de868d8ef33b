"""Autoencoders, in whose latent space processes work (Rombach et al. 2022)."""
