# Raw archives, drawn here or downloaded. Checksums judge downloads, no digest of code: no edit may fetch 23 GB again.


rule draw_dermoscopy:
    """Draw phantom lesions as Kaggle delivers the study's editions, and the ISIC challenge's tables."""
    output:
        DRAWN.kaggle,
        DRAWN.challenge_tables,
    script:
        "../scripts/draw_dermoscopy.py"


rule draw_isic2016:
    """Draw phantom lesions with masks and write them as the ISIC archive delivers 2016 Part 1."""
    output:
        **DRAWN.isic2016,
    script:
        "../scripts/draw_isic2016.py"


rule draw_mednist:
    """Draw phantom hand radiographs and write them as MedNIST is published."""
    output:
        DRAWN.mednist,
    script:
        "../scripts/draw_mednist.py"


rule download:
    """Download one file of the registry; a published checksum, or that of the first fetch, must hold."""
    output:
        "data/raw/published/{file}",
    script:
        "../scripts/download.py"
