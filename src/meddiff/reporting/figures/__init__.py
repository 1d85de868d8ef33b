"""Pictures of tables and of images."""
