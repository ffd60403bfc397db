"""Batches in the admin: everything can be read, and the verbs can be called.

Lists stay cheap however big the tables grow, and no page holds more rows than a screen or two:
what there is more of is a link away.
"""

from batches.admin import deliveries, items, library, recurring, tools, webhooks, work

__all__ = ["deliveries", "items", "library", "recurring", "tools", "webhooks", "work"]
