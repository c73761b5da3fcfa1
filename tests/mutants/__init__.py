"""Faults that the tests must notice: `python -m tests.mutants` applies them one at a time to a copy of the tree."""
