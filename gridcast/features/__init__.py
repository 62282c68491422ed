"""From readings to what a network sees: grid, parts, scales, columns, windows as an index.

What is learned from them lives in `gridcast.training`.
"""
