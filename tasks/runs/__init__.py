"""A run and what all stages of it use: its folder, files, keys, states and servers."""
