"""Log models to MLflow, record the lineage of a run, and verify it."""
