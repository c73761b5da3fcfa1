"""Clips on disk: reading, frame cache, files by clip name, checks, loader, splits and pair lists."""
