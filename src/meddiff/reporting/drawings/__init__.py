"""What a run does, drawn from its configuration: nets, noise, scores (chapters 1, 2 and 4)."""
