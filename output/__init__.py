"""Videos, contact sheets, result tables, metrics and images of the training."""
