# One DDPM a class: image sets -> checkpoint -> synthetic image set.


rule train_ddpm:
    """Train the DDPM of one class; keep the weights to sample from and the loss of every epoch."""
    input:
        images=lesions(DDPM_SETS),
        validation=[] if STUDY else lesions(["validation"]),
    output:
        checkpoint="models/ddpm/{cls}.safetensors",
        history="models/ddpm/{cls}_history.csv",
    log:
        "logs/train_ddpm/{cls}.log",
    benchmark:
        "logs/train_ddpm/{cls}.benchmark.tsv"
    threads: cfg.compute.threads
    resources:
        mem_mb=8000,
        runtime="2d",
        gpu=GPU,
    params:
        code=code("train_ddpm.py"),
        settings=lambda wildcards: cfg.diffusion.for_class(wildcards.cls).model_dump(),
        seed=cfg.seed,
    script:
        "../scripts/train_ddpm.py"


rule sample:
    """Draw the synthetic images of one class."""
    input:
        checkpoint="models/ddpm/{cls}.safetensors",
    output:
        "data/lesions/synthetic/{cls}.npy",
    log:
        "logs/sample/{cls}.log",
    benchmark:
        "logs/sample/{cls}.benchmark.tsv"
    threads: cfg.compute.threads
    resources:
        mem_mb=4000,
        runtime="1d",
        gpu=GPU,
    params:
        code=code("sample.py"),
        settings=cfg.sampling.model_dump(exclude={"batch_size"}),
        seed=cfg.seed,
    script:
        "../scripts/sample.py"
