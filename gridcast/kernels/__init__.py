"""Kernels of our own, for CPU and GPU, and what compiles and records them.

Nothing here knows of a training; all of it can be switched off (`training.recurrence=library`).
"""
