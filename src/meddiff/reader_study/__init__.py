"""Readers tell real from synthetic images: a page that asks, and scores of its answers."""
