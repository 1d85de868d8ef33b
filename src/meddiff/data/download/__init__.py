"""Download files, complete and verified, or fail."""
