"""A data set drawn from a seed, in the raw layouts of the real sources."""
