"""Any two image sets compared."""
