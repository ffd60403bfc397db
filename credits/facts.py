"""What the admin's page of a user says about credits."""

from collections.abc import Iterator

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.facts import Fact, Step
from accounts.models import User
from credits import ledger


def tell(request: HttpRequest, user: User) -> Iterator[Fact | Step]:
    """The balance, this month's use, and the ways to give and to take."""
    account = ledger.account_for(user)
    if request.user.has_perm("credits.view_creditaccount"):
        note = ngettext("{n} on hold", "{n} on hold", account.held)
        yield Fact(
            label=_("Credits"),
            value=number_format(account.available, force_grouping=True),
            note=note.format(n=number_format(account.held, force_grouping=True)),
            url=reverse("admin:credits_creditaccount_change", args=[account.pk]),
        )
        now = timezone.now()
        first = timezone.localtime(now).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        used, given = ledger.moved(since=first, until=now, user=user)
        yield Fact(
            label=_("Used this month"),
            value=number_format(used, force_grouping=True),
            note=_("{n} came in").format(n=number_format(given, force_grouping=True)),
            url=f"{reverse('admin:credits_ledgerentry_changelist')}?account__id__exact={account.pk}",
        )
    if request.user.has_perm("credits.adjust_credits"):
        for label, name in ((_("Give credits"), "give"), (_("Adjust credits"), "adjust")):
            url = reverse(f"admin:credits_creditaccount_{name}", args=[account.pk])
            yield Step(label=label, url=url)
