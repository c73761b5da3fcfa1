"""Faults of input, machine and neighbours: generated inputs, kills, full disks, permissions, two runs at once."""
