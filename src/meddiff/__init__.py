"""Are diffusion-made medical images good enough to stand in for real ones?"""

__version__ = "0.1.0"
