"""Diagrams of a run from its configuration: networks, noise, scores (chapters 1, 2 and 4)."""
