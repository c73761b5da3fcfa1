"""What is written and measured: videos, contact sheets, result tables, metrics, training pictures."""
