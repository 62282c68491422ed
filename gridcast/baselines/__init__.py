"""What a forecaster would otherwise take: naive, linear, boosted, at equal information.

A network has to beat the best of them; where it does not, one of them stands in for it.
"""
