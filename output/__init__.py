"""Output files and measurements: videos, contact sheets, result tables, metrics, training images."""
