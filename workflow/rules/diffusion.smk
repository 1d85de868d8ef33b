# One DDPM per class, or one, `all`, of all classes: image sets -> checkpoint -> synthetic image set.
# The resumable state of a job lies beside its output, as <output>.state.safetensors.


rule train_ddpm:
    """Train the DDPM of a class or of all; keep the weights to sample from and the loss of every epoch."""
    input:
        images=paths.learnt(DDPM_SETS),
        validation=paths.learnt(["validation"]),
        autoencoder=[AUTOENCODER] if cfg.diffusion.latent else [],
    output:
        checkpoint="models/ddpm/{cls}.safetensors",
        history="models/ddpm/{cls}_history.csv",
        previews="models/ddpm/{cls}_previews.npy",
    wildcard_constraints:
        cls=one_of(set(DDPMS.values()) - set(IMPORTED)),
    priority: 2  # the longest jobs first, so that none is left over on one core
    threads: cfg.compute.threads * cfg.compute.processes
    resources:
        **conventions.across_nodes(cfg.compute.nodes),
        runtime="2d",
        gpu=GPU * cfg.compute.processes * cfg.compute.nodes,
    script:
        "../scripts/train_ddpm.py"


rule import_ddpm:
    """Take over the DDPM of a class or of all that was trained elsewhere."""
    input:
        lambda wildcards: IMPORTED[wildcards.cls],
    output:
        checkpoint="models/ddpm/{cls}.safetensors",
        history="models/ddpm/{cls}_history.csv",
        previews="models/ddpm/{cls}_previews.npy",
    wildcard_constraints:
        cls=one_of(IMPORTED),
    script:
        "../scripts/import_ddpm.py"


rule sample:
    """Draw the synthetic images of one class."""
    input:
        checkpoint=paths.ddpm(".safetensors"),
    output:
        "data/images/synthetic/{cls}.npy",
    wildcard_constraints:
        cls=one_of(DDPMS),
    script:
        "../scripts/sample.py"


use rule sample as sample_shard with:
    output:
        "data/images/shards/{cls}/shard-{shard}.npy",
    params:
        settings=cfg.sampling.model_dump(),


ruleorder: gather_samples > sample


rule gather_samples:
    """Put the shards of one class's synthetic images together, where there are several."""
    input:
        expand("data/images/shards/{{cls}}/shard-{n}.npy", n=range(cfg.sampling.shards)),
    output:
        "data/images/synthetic/{cls}.npy",
    wildcard_constraints:
        cls=one_of(DDPMS if cfg.sampling.shards > 1 else []),
    script:
        "../scripts/gather_samples.py"


rule check_samples:
    """Count black, flat and colour-shifted samples; show some beside real images."""
    input:
        samples=image_sets(["synthetic"]),
        training=image_sets(DDPM_SETS),
    output:
        table=table("results/sample_checks.csv", "sample checks", "samples that went wrong"),
        figure=picture("image_sets", "real and synthetic images"),
    script:
        "../scripts/check_samples.py"
