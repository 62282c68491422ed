"""What is done on other machines: a run's jobs, and shards of its regions."""
