"""What the admin's page of a user says about batches and the library."""

from collections.abc import Iterator

from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.facts import Fact, Step
from accounts.models import User
from accounts.plans import plan_for
from batches import library
from batches.models import Batch


def tell(request: HttpRequest, user: User) -> Iterator[Fact | Step]:
    """How many batches there are, how many run, and what the library takes of its quota."""
    own = Batch.objects.filter(owner=user)
    if request.user.has_perm("batches.view_batch"):
        running = own.live().count()
        yield Fact(
            label=_("Batches"),
            value=number_format(own.count(), force_grouping=True),
            note=ngettext("{n} running", "{n} running", running).format(n=running),
            url=f"{reverse('admin:batches_batch_changelist')}?owner__id__exact={user.pk}",
        )
    if request.user.has_perm("batches.view_asset"):
        quota = filesizeformat(plan_for(user).library_bytes)
        yield Fact(
            label=_("Library"),
            value=filesizeformat(library.used(user)),
            note=_("of {size}").format(size=quota),
            url=f"{reverse('admin:batches_asset_changelist')}?owner__id__exact={user.pk}",
        )
