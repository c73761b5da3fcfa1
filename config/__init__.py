"""Experiment files (YAML) and the code that types, checks and reads them. Imports no deep-learning library."""
