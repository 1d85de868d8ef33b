"""What surrounds Snakemake and DVC: jobs, configuration, provenance, sharing."""
