"""Weather and what else has a say in the load: values, since when they were known, as inputs."""
