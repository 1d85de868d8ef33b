"""Nets whose features are compared, trained here or published."""
