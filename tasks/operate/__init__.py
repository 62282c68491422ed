"""Operation: who is put in charge, forecasts that are missing, whether what was promised holds.

Decisions and figures are `gridcast.operation`'s; files of promotions `tasks.promote`'s; forecasts
are issued and kept by `tasks.forecast`.
"""
