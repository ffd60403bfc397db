"""Credits in the admin: everything can be read, nothing edited. Staff adjust by a new entry."""

import uuid
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import F, QuerySet, Sum
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin, TabularInline
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminTextareaWidget

from accounts import trail
from accounts.recorded import RecordedAdmin
from credits import ledger
from credits.models import CreditAccount, Grant, Hold, HoldPart, LedgerEntry, PromoCode


class ReadOnlyAdmin(ModelAdmin):
    """Lists and pages that change nothing, whoever looks."""

    ordering = ("-pk",)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """Nobody adds rows by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """Nobody edits rows by hand."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """Nobody deletes rows by hand."""
        return False


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


MOST_AT_ONCE = 10**9
"""Far from what a column holds, and surely a slip of the finger."""


@admin.register(CreditAccount)
class CreditAccountAdmin(ReadOnlyAdmin):
    """Accounts, and the one thing that staff may do to them."""

    list_display = ("owner", "available", "held", "created_at")
    list_select_related = ("owner",)
    search_fields = ("owner__email",)
    change_form_template = "admin/credits/creditaccount/change_form.html"

    def get_urls(self) -> list[URLPattern]:
        """The usual ones and the adjustment form."""
        adjust = self.admin_site.admin_view(self.adjust_view)
        return [
            path("<int:account_id>/adjust/", adjust, name="credits_creditaccount_adjust"),
            *super().get_urls(),
        ]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Offer the adjustment to those who may make it."""
        context["may_adjust"] = request.user.has_perm("credits.adjust_credits")
        return super().render_change_form(request, context, *args, **kwargs)

    def adjust_view(self, request: HttpRequest, account_id: int) -> HttpResponse:
        """Show the form, or adjust and return to the account."""
        if not request.user.has_perm("credits.adjust_credits"):
            raise PermissionDenied
        account = CreditAccount.objects.select_related("owner").filter(pk=account_id).first()
        if account is None:
            raise Http404
        form = AdjustForm(request.POST or None, initial={"form_uid": uuid.uuid4()})
        if request.method == "POST" and form.is_valid() and self._adjust(request, account, form):
            return HttpResponseRedirect(
                reverse("admin:credits_creditaccount_change", args=[account_id])
            )
        context = {
            **self.admin_site.each_context(request),
            "opts": self.model._meta,
            "original": account,
            "title": _("Adjust credits"),
            "form": form,
        }
        return TemplateResponse(request, "admin/credits/creditaccount/adjust.html", context)

    def _adjust(self, request: HttpRequest, account: CreditAccount, form: AdjustForm) -> bool:
        """Whether it went through; if not, the form says why."""
        delta, note = form.cleaned_data["delta"], form.cleaned_data["note"]
        actor: Any = request.user
        key = f"adjust:{form.cleaned_data['form_uid']}"
        is_new = not LedgerEntry.objects.filter(key=key).exists()
        try:
            entry = ledger.adjust(
                account.owner,
                delta,
                actor=actor,
                note=note,
                key=key,
            )
        except ledger.InsufficientCredits as refusal:
            form.add_error(
                "delta",
                _("Only %(available)d credits are available to take.") % refusal.params,
            )
            return False
        if is_new:
            trail.record(
                request,
                "creditaccount.adjust",
                account.owner,
                before={"available": entry.available_after - entry.available_delta},
                after={"available": entry.available_after},
                reason=entry.note,
            )
        self.message_user(
            request,
            _("Adjusted by %(delta)+d; %(available)d credits are available now.")
            % {"delta": entry.available_delta, "available": entry.available_after},
        )
        return True


@admin.register(PromoCode)
class PromoCodeAdmin(RecordedAdmin):
    """Codes that give credits. Who has used one is in the grants under its key."""

    list_display = ("code", "amount", "uses", "most_uses", "begins_at", "ends_at", "note")
    search_fields = ("code", "note")
    ordering = ("-pk",)
    readonly_fields = ("uses", "created_at")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only those that nobody has used: the others are ended, and stay to be looked up."""
        allowed = super().has_delete_permission(request, obj)
        return allowed and (obj is None or not obj.uses)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """In capitals, as it is looked up."""
        obj.code = obj.code.strip().upper()
        super().save_model(request, obj, form, change)


@admin.register(Grant)
class GrantAdmin(ReadOnlyAdmin):
    """Where credits came from."""

    list_display = ("key", "account_owner", "kind", "amount", "remaining", "expires_at")
    list_select_related = ("account__owner",)
    list_filter = ("kind",)
    search_fields = ("key", "account__owner__email")

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

    list_display = ("key", "account_owner", "reference", "amount", "still_open", "created_at")
    list_select_related = ("account__owner",)
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
        "reference",
        "actor",
        "note",
    )
    list_select_related = ("account__owner", "actor")
    list_filter = ("kind",)
    search_fields = ("=key", "=item_uid", "=reference", "account__owner__email")
    show_full_result_count = False  # the journal grows for ever

    @admin.display(description=_("owner"))
    def account_owner(self, entry: LedgerEntry) -> str:
        """The owner's address."""
        return entry.account.owner.email
