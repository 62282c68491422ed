"""Forecasts of hours that have not been yet: issued at an instant, from what was known by then.

Nothing here asks the clock, reads a file or trains a model: `as_of` is an argument.
"""
