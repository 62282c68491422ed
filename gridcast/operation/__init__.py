"""From training to operation: who is in charge, whether forecasts hold what was promised.

Decisions and figures as values; what is written, asked or sent lives in `tasks`. Nothing here asks
the clock: `as_of` is an argument.
"""
