"""The page that sets the study's printed numbers beside those of runs (`meddiff study`)."""
