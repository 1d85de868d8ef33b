# The autoencoder in whose latent space DDPMs work: image sets -> checkpoint -> what it loses.


rule train_autoencoder:
    """Train the autoencoder on the training images of every class."""
    input:
        images=image_sets(DDPM_SETS),
        validation=image_sets(["validation"]),
        alexnet=paths.alexnet(),
    output:
        checkpoint=AUTOENCODER,
        history="models/autoencoder_history.csv",
    priority: 3  # every DDPM waits for it
    resources:
        runtime="1d",
    script:
        "../scripts/train_autoencoder.py"


rule reconstruction:
    """PSNR and SSIM of real images that the autoencoder encodes and decodes."""
    input:
        checkpoint=AUTOENCODER,
        images=image_sets(dict.fromkeys([*DDPM_SETS, "test"])),
        alexnet=paths.alexnet(),
    output:
        table("results/reconstruction.csv", "reconstruction", "what the autoencoder loses"),
    script:
        "../scripts/reconstruction.py"
