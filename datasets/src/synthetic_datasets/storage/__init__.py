"""Writing and reading the files of a data set."""
