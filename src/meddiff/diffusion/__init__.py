"""The denoising diffusion probabilistic model (DDPM): network, training, sampling."""
