"""Landmarks, tracking and alignment of faces with NumPy and OpenCV; no networks of our own."""
