"""Pages that stand alone: one HTML file that opens anywhere and needs no other."""
