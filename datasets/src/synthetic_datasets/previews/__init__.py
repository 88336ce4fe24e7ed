"""Contact sheets: what a data set looks like."""
