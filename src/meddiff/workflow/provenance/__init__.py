"""Provenance of files: digests of code and of files, and records."""
