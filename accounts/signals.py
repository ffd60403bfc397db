"""What other apps may listen to, since accounts know none of them."""

from django.dispatch import Signal

address_confirmed = Signal()
"""``user`` has proved an address. Sent inside the transaction that notes it: both or neither."""

about_to_be_seen = Signal()
"""Staff are about to see the site as ``user``, and their look must change nothing: make now what
the first look of anybody would make."""
