"""From the bytes of a file to readings that are judged: parsing, time, rules, snapshots.

What models get of them lives in `gridcast.features`.
"""
