"""Credits in the admin: all can be read, nothing edited. Staff give and take by new entries."""

import re
import uuid
from collections.abc import Callable
from datetime import datetime, time, timedelta
from typing import Any
from urllib.parse import quote

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import F, QuerySet, Sum
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.admin import TabularInline
from unfold.widgets import (
    UnfoldAdminDateWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminTextareaWidget,
)

from accounts import trail
from accounts.lists import BetweenFilter, CappedPaginator, DiscreetAdmin
from accounts.recorded import RecordedAdmin
from credits import ledger, promos
from credits.models import (
    CreditAccount,
    EntryKind,
    Grant,
    GrantKind,
    Hold,
    HoldPart,
    LedgerEntry,
    PromoCode,
)

MOST_AT_ONCE = 10**9
"""Far from what a column holds, and surely a slip of the finger."""
SHOWN_USES = 50
"""Of a promo code, on its page."""


class ReadOnlyAdmin(DiscreetAdmin):
    """Lists and pages that change nothing, whoever looks."""

    search_help_text = _("Owner's address, or a whole key or reference")
    ordering = ("-pk",)
    paginator = CappedPaginator
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """Nobody adds rows by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """Nobody edits rows by hand."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """Nobody deletes rows by hand."""
        return False

    @admin.display(description=_("account"))
    def account_page(self, row: Grant | Hold | LedgerEntry) -> str:
        """Whose account it is, with the way to it."""
        address = reverse("admin:credits_creditaccount_change", args=[row.account_id])
        return format_html('<a href="{}">{}</a>', address, row.account.owner)

    @admin.display(description=_("for"))
    def work(self, row: Hold | LedgerEntry) -> str:
        """The piece of work that it is about, as a link to the search for it."""
        kind, _colon, uid = row.reference.partition(":")
        try:
            address = f"{reverse(f'admin:batches_{kind}_changelist')}?q={quote(uid)}"
        except NoReverseMatch:
            return row.reference or "-"
        return format_html('<a href="{}">{} {}</a>', address, kind, uid[:8])


class AdjustForm(forms.Form):
    """Credits to add, or to take with a minus, and why."""

    delta = forms.IntegerField(
        label=_("Credits"),
        help_text=_("Above zero adds, below zero takes."),
        widget=UnfoldAdminIntegerFieldWidget,
    )
    note = forms.CharField(
        label=_("Reason"), max_length=500, widget=UnfoldAdminTextareaWidget(attrs={"rows": 3})
    )
    # Sent back with the form, so that sending it twice adjusts once.
    form_uid = forms.UUIDField(widget=forms.HiddenInput)

    def clean_delta(self) -> int:
        """Zero would say nothing."""
        delta: int = self.cleaned_data["delta"]
        if delta == 0:
            raise forms.ValidationError(_("Enter a number above or below zero."))
        if abs(delta) > MOST_AT_ONCE:
            raise forms.ValidationError(_("That is more than can be adjusted at once."))
        return delta


class GiveForm(forms.Form):
    """Credits to give, until when they last, and why."""

    amount = forms.IntegerField(
        label=_("Credits"),
        min_value=1,
        max_value=MOST_AT_ONCE,
        widget=UnfoldAdminIntegerFieldWidget,
    )
    last_day = forms.DateField(
        label=_("Last day"),
        required=False,
        help_text=_("What is left after it expires. Empty: the credits last for ever."),
        widget=UnfoldAdminDateWidget,
    )
    note = forms.CharField(
        label=_("Reason"),
        max_length=500,
        help_text=_("The user sees it in the statement."),
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
    )
    # Sent back with the form, so that sending it twice gives once.
    form_uid = forms.UUIDField(widget=forms.HiddenInput)

    def clean_last_day(self) -> datetime | None:
        """The end of the day, which lies ahead."""
        day = self.cleaned_data["last_day"]
        if day is None:
            return None
        if not timezone.localdate() <= day < day.max:
            raise forms.ValidationError(_("This day is over. Choose a later one."))
        return timezone.make_aware(datetime.combine(day + timedelta(days=1), time.min))


@admin.register(CreditAccount)
class CreditAccountAdmin(ReadOnlyAdmin):
    """Accounts, and the one thing that staff may do to them."""

    list_display = ("owner", "available", "held", "created_at")
    list_select_related = ("owner",)
    search_fields = ("owner__email",)
    search_help_text = _("Owner's address")
    fields = ("owner", "available", "held", "created_at")
    change_form_template = "admin/credits/creditaccount/change_form.html"

    def get_urls(self) -> list[URLPattern]:
        """The usual ones and the two forms."""
        views = {"adjust": self.adjust_view, "give": self.give_view}
        return [
            *(
                path(
                    f"<int:account_id>/{name}/",
                    self.admin_site.admin_view(view),
                    name=f"credits_creditaccount_{name}",
                )
                for name, view in views.items()
            ),
            *super().get_urls(),
        ]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Offer the forms to those who may use them."""
        context["may_adjust"] = request.user.has_perm("credits.adjust_credits")
        return super().render_change_form(request, context, *args, **kwargs)

    def adjust_view(self, request: HttpRequest, account_id: int) -> HttpResponse:
        """Show the form, or adjust and return to the account."""
        return self._step(request, account_id, AdjustForm, self._adjust, _("Adjust credits"))

    def give_view(self, request: HttpRequest, account_id: int) -> HttpResponse:
        """Show the form, or give and return to the account."""
        return self._step(request, account_id, GiveForm, self._give, _("Give credits"))

    def _step(
        self,
        request: HttpRequest,
        account_id: int,
        kind: type[forms.Form],
        do: Callable[[HttpRequest, CreditAccount, Any], bool],
        title: Any,
    ) -> HttpResponse:
        if not request.user.has_perm("credits.adjust_credits"):
            raise PermissionDenied
        account = CreditAccount.objects.select_related("owner").filter(pk=account_id).first()
        if account is None:
            raise Http404
        form = kind(request.POST or None, initial={"form_uid": uuid.uuid4()})
        if request.method == "POST" and form.is_valid() and do(request, account, form):
            return HttpResponseRedirect(_page_of(request, account))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.model._meta,
            "original": account,
            "title": title,
            "words": _("%(owner)s has %(available)d credits available and %(held)d on hold.")
            % {"owner": account.owner, "available": account.available, "held": account.held},
            "button": title,
            "back": _page_of(request, account),
            "form": form,
        }
        return TemplateResponse(request, "admin/step.html", context)

    def _adjust(self, request: HttpRequest, account: CreditAccount, form: AdjustForm) -> bool:
        """Whether it went through; if not, the form says why."""
        delta, note = form.cleaned_data["delta"], form.cleaned_data["note"]
        actor: Any = request.user
        key = f"adjust:{form.cleaned_data['form_uid']}"
        try:
            with transaction.atomic():
                is_new = _is_new(account, key)
                entry = ledger.adjust(account.owner, delta, actor=actor, note=note, key=key)
                if is_new:
                    _note(request, "creditaccount.adjust", account, entry)
        except ledger.InsufficientCredits as refusal:
            form.add_error(
                "delta",
                _("Only %(available)d credits are available to take.") % refusal.params,
            )
            return False
        self.message_user(
            request,
            _("Adjusted by %(delta)+d; %(available)d credits are available now.")
            % {"delta": entry.available_delta, "available": entry.available_after},
        )
        return True

    def _give(self, request: HttpRequest, account: CreditAccount, form: GiveForm) -> bool:
        """Give, whoever sends the form twice: once."""
        actor: Any = request.user
        key = f"give:{form.cleaned_data['form_uid']}"
        until = form.cleaned_data["last_day"]
        with transaction.atomic():
            is_new = _is_new(account, key)
            entry = ledger.grant(
                account.owner,
                form.cleaned_data["amount"],
                kind=GrantKind.ADMIN,
                key=key,
                expires_at=until,
                actor=actor,
                note=form.cleaned_data["note"],
            )
            if is_new:
                _note(request, "creditaccount.give", account, entry, expires_at=until)
        self.message_user(
            request,
            _("%(delta)d credits given; %(available)d are available now.")
            % {"delta": entry.available_delta, "available": entry.available_after},
        )
        return True


def _is_new(account: CreditAccount, key: str) -> bool:
    """Whether the key has moved nothing yet; for those who hold the account's lock from here on."""
    ledger.lock(account.owner_id)
    return not LedgerEntry.objects.filter(key=key).exists()


def _note(
    request: HttpRequest, action: str, account: CreditAccount, entry: LedgerEntry, **more: Any
) -> None:
    """Write down what moved, as something that was done to the user."""
    trail.record(
        request,
        action,
        account.owner,
        before={"available": entry.available_after - entry.available_delta},
        after={"available": entry.available_after, **more},
        reason=entry.note,
    )


def _page_of(request: HttpRequest, account: CreditAccount) -> str:
    """Where staff go on: the user's page for those who may see it."""
    if request.user.has_perm("accounts.view_user"):
        return reverse("admin:accounts_user_change", args=[account.owner_id])
    return reverse("admin:credits_creditaccount_change", args=[account.pk])


class PromoCodeForm(forms.ModelForm):
    """What a code gives, to how many, and when."""

    class Meta:
        """All that staff say."""

        model = PromoCode
        fields = (
            "code", "amount", "credits_last_days", "most_uses", "begins_at", "ends_at", "note",
        )  # fmt: skip

    def clean_code(self) -> str:
        """In its one spelling, and such that people can type it."""
        code = promos.spelled(self.cleaned_data["code"])
        if not re.fullmatch("[A-Z0-9-]{3,40}", code):
            raise forms.ValidationError(
                _("Use 3 to 40 letters (A to Z), digits and hyphens, such as AUTUMN-26.")
            )
        return code

    def clean_most_uses(self) -> int | None:
        """No fewer than there have been."""
        most: int | None = self.cleaned_data["most_uses"]
        if most is not None and most < self.instance.uses:
            raise forms.ValidationError(
                ngettext(
                    "It has been used %(n)d time already.",
                    "It has been used %(n)d times already.",
                    self.instance.uses,
                )
                % {"n": self.instance.uses}
            )
        return most

    def clean(self) -> dict[str, Any]:
        """It ends after it begins."""
        cleaned = super().clean() or {}
        begins, ends = cleaned.get("begins_at"), cleaned.get("ends_at")
        if begins and ends and ends <= begins:
            self.add_error("ends_at", _("This is before it begins."))
        return cleaned


@admin.register(PromoCode)
class PromoCodeAdmin(RecordedAdmin):
    """Codes that give credits; who has used one is on its page."""

    form = PromoCodeForm
    list_display = ("code", "amount", "used", "state", "begins_at", "ends_at", "note")
    search_fields = ("code", "note")
    ordering = ("-pk",)
    actions = ("stop",)
    fieldsets = (
        (None, {"fields": ("code", "amount", "credits_last_days", "note")}),
        (_("For whom and when"), {"fields": ("most_uses", "begins_at", "ends_at")}),
    )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:  # noqa: ARG002
        """With its uses, once there is a code."""
        uses = (_("Uses"), {"fields": ("state", "used", "used_by", "created_at")})
        return self.fieldsets if obj is None else (*self.fieldsets, uses)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:  # noqa: ARG002
        """A code that has been used keeps its spelling: the ledger's keys hold it."""
        fixed = ("state", "used", "used_by", "created_at")
        return (*fixed, "code") if obj is not None and obj.uses else fixed

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only those that nobody has used: the others are stopped, and stay to be looked up."""
        allowed = super().has_delete_permission(request, obj)
        return allowed and (obj is None or not obj.uses)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """No deleting from the list: the page of a code knows whether it may go."""
        actions: dict[str, Any] = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Store it, with the uses that were counted while the form was open."""
        if change:
            obj.uses = PromoCode.objects.select_for_update().get(pk=obj.pk).uses
        super().save_model(request, obj, form, change)

    @admin.action(description=_("Stop these codes"), permissions=["change"])
    def stop(self, request: HttpRequest, queryset: QuerySet[PromoCode]) -> None:
        """Let nobody use them from now on; credits that they gave stay."""
        moved, now = 0, timezone.now()
        for promo in queryset.order_by("pk"):
            with transaction.atomic():
                if promos.stop(promo, now=now):
                    before, after = {"ends_at": promo.ends_at}, {"ends_at": now}
                    trail.record(request, "promocode.stop", promo, before=before, after=after)
                    moved += 1
        self.message_user(request, ngettext("%d code stopped.", "%d codes stopped.", moved) % moved)

    @admin.display(description=_("uses"), ordering="uses")
    def used(self, promo: PromoCode) -> str:
        """How often, of how many times."""
        if promo.most_uses is None:
            return str(promo.uses)
        return str(_("%(n)d of %(most)d") % {"n": promo.uses, "most": promo.most_uses})

    @admin.display(description=_("state"))
    def state(self, promo: PromoCode) -> str:
        """Whether somebody could use it now, and if not, why."""
        now = timezone.now()
        if promo.ends_at and promo.ends_at <= now:
            return str(_("Ended"))
        if promo.most_uses is not None and promo.uses >= promo.most_uses:
            return str(_("Used up"))
        return str(_("Not begun") if promo.begins_at and promo.begins_at > now else _("Going"))

    @admin.display(description=_("used by"))
    def used_by(self, promo: PromoCode) -> str:
        """Who, newest first; of many the latest."""
        given = list(promos.grants_of(promo)[:SHOWN_USES])
        if not given:
            return "-"
        rows = format_html_join(
            "",
            "<tr><th scope='row'><a href='{}'>{}</a></th><td>{}</td></tr>",
            (
                (
                    reverse("admin:credits_grant_change", args=[grant.pk]),
                    grant.account.owner,
                    timezone.localtime(grant.created_at).strftime("%Y-%m-%d %H:%M"),
                )
                for grant in given
            ),
        )
        return format_html("<table class='studio-changes'><tbody>{}</tbody></table>", rows)


@admin.register(Grant)
class GrantAdmin(ReadOnlyAdmin):
    """Where credits came from."""

    list_display = ("key", "account_owner", "kind", "amount", "remaining", "expires_at")
    list_select_related = ("account__owner",)
    list_filter = ("kind", ("expires_at", BetweenFilter))
    list_filter_submit = True
    search_fields = ("key", "account__owner__email")
    fields = (
        "account_page", "kind", ("amount", "remaining"), ("expires_at", "created_at"),
        ("carry_over", "carry_until"), ("priority", "key"),
    )  # fmt: skip

    @admin.display(description=_("owner"))
    def account_owner(self, grant: Grant) -> str:
        """The owner's address."""
        return grant.account.owner.email


class HoldPartInline(TabularInline):
    """From which grants a hold was taken."""

    model = HoldPart
    fields = ("grant", "amount", "captured", "released")
    readonly_fields = fields
    extra = 0
    can_delete = False


@admin.register(Hold)
class HoldAdmin(ReadOnlyAdmin):
    """Credits set aside, and what became of them."""

    list_display = ("key", "account_owner", "work", "amount", "still_open", "created_at")
    list_select_related = ("account__owner",)
    fields = ("account_page", "work", ("amount", "still_open"), ("key", "created_at"))
    search_fields = ("key", "reference", "account__owner__email")
    inlines = (HoldPartInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Hold]:
        """Holds with their sums, in one query."""
        return (
            super()
            .get_queryset(request)
            .annotate(
                _amount=Sum("parts__amount"),
                _open=Sum(F("parts__amount") - F("parts__captured") - F("parts__released")),
            )
        )

    @admin.display(description=_("owner"))
    def account_owner(self, hold: Hold) -> str:
        """The owner's address."""
        return hold.account.owner.email

    @admin.display(description=_("amount"))
    def amount(self, hold: Any) -> int:
        """Credits that were set aside."""
        return hold._amount

    @admin.display(description=_("open"))
    def still_open(self, hold: Any) -> int:
        """Credits that are neither captured nor released."""
        return hold._open


@admin.register(LedgerEntry)
class LedgerEntryAdmin(ReadOnlyAdmin):
    """The journal."""

    list_display = (
        "created_at",
        "account_owner",
        "kind",
        "available_delta",
        "held_delta",
        "available_after",
        "held_after",
        "work",
        "actor",
        "note",
    )
    fields = (
        "account_page", ("kind", "created_at"), ("available_delta", "held_delta"),
        ("available_after", "held_after"), ("work", "image"), ("actor", "note"), "key",
    )  # fmt: skip
    list_select_related = ("account__owner", "actor")
    list_filter = ("kind", ("created_at", BetweenFilter))
    list_filter_submit = True
    search_fields = ("=key", "account__owner__email")
    search_help_text = _("Owner's address, a whole key, or the id of a batch or an image")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[LedgerEntry], search_term: str
    ) -> tuple[QuerySet[LedgerEntry], bool]:
        """An id is one of a batch, whose holds an index finds, or of an image that was paid for."""
        word = search_term.strip().removeprefix("batch:")
        try:
            uid = uuid.UUID(word)
        except ValueError:
            return super().get_search_results(request, queryset, search_term)
        holds = Hold.objects.filter(reference=f"batch:{uid}")
        if holds.exists():
            return queryset.filter(hold__in=holds.values("pk")), False
        return queryset.filter(item_uid=uid, kind=EntryKind.CAPTURE), False

    @admin.display(description=_("image"))
    def image(self, entry: LedgerEntry) -> str:
        """The image that it is about, as a link to the search for it."""
        if entry.item_uid is None:
            return "-"
        address = reverse("admin:batches_item_changelist")
        return format_html(
            '<a href="{}?q={}"><code>{}</code></a>', address, entry.item_uid, entry.item_uid
        )

    @admin.display(description=_("owner"))
    def account_owner(self, entry: LedgerEntry) -> str:
        """The owner's address."""
        return entry.account.owner.email
