"""Any two image sets compared: rows of Table 5.2, matrices, and `evaluate`."""
