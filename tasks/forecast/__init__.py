"""Forecast hours to come: which model, from which snapshot, with which bands, kept in a store.

What is computed lives in `gridcast.forecasting`; models are made by `tasks.train`.
"""
