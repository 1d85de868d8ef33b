# Pictures: what the image sets look like, and how the trainings went.


rule image_sets_figure:
    """Show real and synthetic images of every class side by side."""
    input:
        real=lesions(["train"], CLASSES),
        synthetic=lesions(["synthetic"], CLASSES),
    output:
        report(
            "results/figures/image_sets.png",
            caption="../report/image_sets.rst",
            category="Images",
            labels={"class": "all", "figure": "real and synthetic images"},
        ),
    log:
        "logs/image_sets_figure.log",
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code("image_sets_figure.py"),
        classes=CLASSES,
    script:
        "../scripts/image_sets_figure.py"


rule training_figure:
    """Draw loss and learning rate of every DDPM and extractor."""
    input:
        expand("models/ddpm/{cls}_history.csv", cls=CLASSES),
        expand("models/{extractor}_history.csv", extractor=EXTRACTORS),
    output:
        report(
            "results/figures/training.png",
            caption="../report/training.rst",
            category="Training",
            labels={"figure": "loss and learning rate"},
        ),
    log:
        "logs/training_figure.log",
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code("training_figure.py"),
        titles=[f"DDPM {name}" for name in CLASSES] + EXTRACTORS,
    script:
        "../scripts/training_figure.py"


rule hand_figure:
    """Show the hand radiographs of section 5.1 after preprocessing (Figures 5.1 and 5.2)."""
    input:
        "data/hand/train/hand.npy",
    output:
        report(
            "results/figures/hand.png",
            caption="../report/hand.rst",
            category="Images",
            labels={"class": "hand", "figure": "hand radiographs"},
        ),
    log:
        "logs/hand_figure.log",
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code("contact_sheet.py"),
    script:
        "../scripts/contact_sheet.py"


rule samples_figure:
    """Show the first synthetic images of one class."""
    input:
        lesions(["synthetic"]),
    output:
        report(
            "results/samples/{cls}.png",
            caption="../report/samples.rst",
            category="Images",
            labels={"class": "{cls}", "figure": "synthetic images"},
        ),
    log:
        "logs/samples_figure/{cls}.log",
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code("contact_sheet.py"),
    script:
        "../scripts/contact_sheet.py"
