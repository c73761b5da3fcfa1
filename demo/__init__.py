"""The demo: makes its data set with known motion, trains, animates unseen faces and measures the result."""
