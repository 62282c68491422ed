"""Looks at files of an unknown layout and proposes one, with what was seen and how sure it is.

Nothing here is used while data are read: a proposal is a file that a person has looked at.
"""
