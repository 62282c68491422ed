"""How files lie that are not PJM's: read by a layout that is configuration, or looked at for it.

A layout is data; the hours that come out go through the same rules as all others.
"""
