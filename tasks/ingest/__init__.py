"""Read, check and publish regions as Parquet, and keep their snapshots."""
