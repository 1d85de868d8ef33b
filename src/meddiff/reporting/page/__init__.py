"""Self-contained pages: one HTML file that opens anywhere."""
