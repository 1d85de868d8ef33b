"""The interface to Snakemake and DVC: jobs, configuration, provenance, sharing."""
