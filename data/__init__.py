"""The demo data set and the small tables the program reads."""
