"""Training of a DDPM: the loop, what a step does, and how it resumes."""
