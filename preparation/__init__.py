"""Turns data sets, as researchers receive them, into folders that training and animation read."""
