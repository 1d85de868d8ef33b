"""Find images that show the same photograph."""
