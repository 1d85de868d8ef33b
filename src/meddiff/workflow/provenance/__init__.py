"""What made a file: digests of code and of files, and its record."""
