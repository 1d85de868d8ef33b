"""Autoencoders of latent diffusion (Rombach et al. 2022)."""
