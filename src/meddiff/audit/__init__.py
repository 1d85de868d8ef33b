"""What is wrong with the data, as tables: labels, duplicates, leakage, encoding, training."""
