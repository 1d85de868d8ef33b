"""Images of a trained DDPM."""
