"""Downloads of data sets made into the folders that the data sets of this package read."""
