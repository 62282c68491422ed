"""Effects: each stage loads, calls the core once, saves, and returns a reference."""
