"""Forecasts in use against what came and what was promised: figures, alarms, reasons to train.

Who is in charge, and many issue times at once, live in `gridcast.operation`.
"""
