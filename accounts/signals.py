"""What other apps may listen to, since accounts know none of them."""

from django.dispatch import Signal

address_confirmed = Signal()
"""``user`` has proved an address. Sent inside the transaction that notes it: both or neither."""
