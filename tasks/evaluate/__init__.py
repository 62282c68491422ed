"""Hold the trained models against the same labels, check for leaks, write the report of a run."""
