"""Divide images into training, validation and test sets."""
