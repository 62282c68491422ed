"""The pages of this machine: Prefect's, MLflow's, and those that runs have left."""
