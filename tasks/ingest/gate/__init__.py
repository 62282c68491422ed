"""The second gate: what Great Expectations asks of a region before it is published."""
