# Entry point: `snakemake --cores 1 results/table_5_2.csv`, or no target for everything.


include: "workflow/Snakefile"


# An included file sets none.
workflow.default_target = "all"
