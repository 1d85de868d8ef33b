"""The page that compares the study's published numbers with those of runs (`meddiff study`)."""
