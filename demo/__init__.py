"""The demo: a data set with known motion, training, animation of unseen faces, and figures of quality."""
