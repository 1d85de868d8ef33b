"""Read raw data: archives in place, any image format, any bit depth."""
