"""Checkpoints, models, devices and the one atomic file writer, shared by training and generation."""
