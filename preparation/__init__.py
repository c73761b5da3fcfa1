"""From the data sets as researchers receive them to folders that training and animation read."""
