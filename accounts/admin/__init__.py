"""People in the admin: users, plans, keys, connections, and the record of what staff does.

No secret is anywhere to be seen.
"""

from accounts.admin import access, people, plans, record

__all__ = ["access", "people", "plans", "record"]
