# Entry point: `snakemake --cores 1 results/table_5_2.csv`, or no target for everything.


include: "workflow/Snakefile"


workflow.default_target = "all"  # an included file sets none
