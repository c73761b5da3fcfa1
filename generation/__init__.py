"""Generating clips: the inference engine, its set-up, FACS codes, batches that resume."""
