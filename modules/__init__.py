"""Networks and losses: tensors in, tensors out. No files, no arguments, no choice of device, no printing."""
