# Entry point: `snakemake --cores 1 results/table_5_2.csv`, or no target for everything.


include: "workflow/Snakefile"


rule all:
    """Every table and figure of this configuration."""
    default_target: True
    input:
        final_outputs(cfg, MEASURES, AUDITED),
