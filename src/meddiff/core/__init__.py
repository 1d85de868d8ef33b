"""Shared by every phase: arrays, tables, files, settings, devices, random streams."""
