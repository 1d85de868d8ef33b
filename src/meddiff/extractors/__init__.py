"""Networks whose features are compared, trained here or published."""
