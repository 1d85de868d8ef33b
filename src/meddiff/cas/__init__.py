"""Classification accuracy score: train on synthetic images, test on real ones."""
