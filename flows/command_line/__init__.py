"""The command ``gridcast``: one module a group of commands, the options they share written once.

A command starts a flow or shows what came of one; no work is done here.
"""
