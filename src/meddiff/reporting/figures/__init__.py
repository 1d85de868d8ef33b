"""Figures of tables and images."""
