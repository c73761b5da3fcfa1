"""The demo: makes a data set with known motion, trains, animates unseen faces and measures the results."""
