"""Reading of files that people bring, within limits of size, depth and time: nothing here trusts its input."""
