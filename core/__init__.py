"""What training and generation share: checkpoints, models, devices, the one atomic file writer."""
