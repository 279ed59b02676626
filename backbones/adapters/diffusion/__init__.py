"""diffusers: latent diffusion models behind the contract, run up to the block that is read."""
