"""Doors for clients that were written for Sirv AI Studio: they change the base URL, and that is it.

Names, shapes and codes are that service's; the work is done by the verbs of this one.
"""
