"""A model as a folder, and asked with a DataFrame: `gridcast.load_model`.

Beside numbers and tables nothing is needed: no orchestrator, no tracker, no artifacts folder. What
is computed lives in `gridcast.forecasting`. This is the one room of the core that reads files.
"""
