"""What the ledger's ``batch:<uid>`` stands for; told to `credits.references` when Django starts."""

import uuid
from collections.abc import Collection, Mapping

from accounts.models import User
from batches.models import Batch
from credits.references import Named

KIND = "batch"


def describe(user: User, references: Collection[str]) -> Mapping[str, Named]:
    """Names and pages of the user's own batches; deleted ones are left out."""
    uids = []
    for reference in references:
        try:
            uids.append(uuid.UUID(reference.removeprefix(f"{KIND}:")))
        except ValueError:  # from the address of a page: anybody may write anything there
            continue
    own = Batch.objects.visible_to(user).filter(uid__in=uids)
    return {batch.reference: Named(str(batch), batch.get_absolute_url()) for batch in own}
