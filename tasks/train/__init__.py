"""Build the features, train the models and fit the baselines, each in a process; plan a run."""
