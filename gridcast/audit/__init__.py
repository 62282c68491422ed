"""Whether what was made is what it claims: lineage, leaks, the first difference of two tables.

It judges values; who reads the files of a run for it is `tasks.track` and `tasks.evaluate`.
"""
