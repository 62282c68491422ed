"""Who is in charge, as files: the log of promotions, MLflow's alias that follows it, events.

What is decided lives in `gridcast.operation`; who holds contests, in `tasks.operate`.
"""
