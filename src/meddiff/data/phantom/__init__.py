"""A data set simulated from a seed, in the raw layouts of the real sources."""
