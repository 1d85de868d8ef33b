"""Training of a DDPM: the loop, the step, and how it resumes."""
