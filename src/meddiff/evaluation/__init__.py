"""Compare any two image sets: rows of Table 5.2, matrices, and `evaluate`."""
