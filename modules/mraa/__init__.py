"""Motion representations for articulated animation: regions, their principal axes, background, pixel-wise flow."""
