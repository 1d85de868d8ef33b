"""Reader studies of real and synthetic images: the page, and scores of its answers."""
