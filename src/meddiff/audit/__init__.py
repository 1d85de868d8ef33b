"""Tables of problems in the data: labels, duplicates, leakage, encoding, training."""
