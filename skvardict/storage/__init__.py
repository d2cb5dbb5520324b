"""Files that hold numbers and names only."""
