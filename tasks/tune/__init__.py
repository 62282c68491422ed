"""Search for better settings: the trials of a study, and what it leaves."""
