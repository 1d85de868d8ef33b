"""Images from archives to packed sets: sources, index, duplicates, splits, preprocessing."""
