"""Numbers that the published networks gave, and their replay through this program's networks. See README.md here."""
