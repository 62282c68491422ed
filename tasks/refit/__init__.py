"""A model trained anew as a span of the past goes on, each time on what was known by then."""
