"""Sampling from a trained DDPM."""
