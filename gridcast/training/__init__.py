"""The forecaster, its training step by step, and its forecasts; what a training will need.

Kernels live in `gridcast.kernels`, judging in `gridcast.evaluation`.
"""
