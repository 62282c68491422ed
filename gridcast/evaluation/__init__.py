"""How forecasts are judged: metrics, the contestants, their scores, the search for settings.

Nothing is trained here, and no picture drawn. What the networks are held against lives in
:mod:`gridcast.baselines`.
"""
