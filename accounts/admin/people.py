"""Users and groups in the admin."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.defaultfilters import filesizeformat
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.translation import gettext as now_
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminTextInputWidget

from accounts import facts, plans, seeing, trail
from accounts.facts import Fact, Step
from accounts.lists import CappedPaginator
from accounts.models import ApiKey, Connection, StaffAction, User
from accounts.recorded import RecordedAdmin

LATEST = 10
"""Keys, connections and actions on a user's page; the lists have the rest."""
RIGHTS = ("is_staff", "is_superuser", "groups", "user_permissions")


class NewUserForm(UserCreationForm):
    """A user of this site is made from an address and a password."""

    class Meta:
        """Ask for the address; there is no user name."""

        model = User
        fields = ("email",)
        field_classes: dict[str, Any] = {}


class SeeForm(forms.Form):
    """Why somebody wants to see the site as a user does."""

    reason = forms.CharField(
        label=_("Reason"),
        max_length=500,
        help_text=_("Such as the number of the request for help. It goes into the record."),
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
    )


@admin.register(User)
class UserAdmin(DjangoUserAdmin, RecordedAdmin):
    """Django's own pages for users, without user names, and with what staff need beside the row.

    Rights are given by superusers alone, and whoever has some is changed by superusers alone: else
    anybody who may change users could make themselves one.
    """

    form = UserChangeForm
    add_form = NewUserForm
    change_password_form = AdminPasswordChangeForm
    change_form_outer_before_template = "admin/accounts/user/_facts.html"
    change_form_outer_after_template = "admin/accounts/user/_latest.html"
    list_display = ("email", "plan", "state", "is_staff", "created_at", "last_login")
    list_filter = ("plan", "is_staff", "is_superuser", "is_active")
    list_select_related = ("plan",)
    search_fields = ("email", "uid")
    search_help_text = _("Address or id")
    ordering = ("-pk",)
    paginator = CappedPaginator
    show_full_result_count = False
    readonly_fields = (
        "sign_in",
        "uid",
        "state",
        "created_at",
        "email_verified_at",
        "last_login",
        "erased_at",
    )
    fieldsets = (
        (None, {"fields": ("email", "sign_in", "uid", "state", "is_active")}),
        (_("Limits"), {"fields": ("plan", "batch_images")}),
        (_("Rights"), {"fields": RIGHTS}),
        (
            _("Dates"),
            {"fields": ("created_at", "email_verified_at", "last_login", "erased_at")},
        ),
    )
    add_fieldsets = (
        (
            None,
            {
                "classes": ("wide",),
                "fields": ("email", "usable_password", "password1", "password2"),
            },
        ),
    )

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Staff are changed by superusers."""
        allowed = super().has_change_permission(request, obj)
        has_rights = obj is not None and (obj.is_staff or obj.is_superuser)
        return allowed and (bool(request.user.is_superuser) or not has_rights)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """No: the ledger stands on them. They are switched off, or leave by their own page."""
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Rights, too, for those who can't give them."""
        fixed = tuple(super().get_readonly_fields(request, obj))
        return fixed if request.user.is_superuser else (*fixed, *RIGHTS)

    def get_urls(self) -> list[URLPattern]:
        """The usual ones, and the way to see the site as a user."""
        view = self.admin_site.admin_view(self.see_view)
        return [path("<int:user_id>/see/", view, name="accounts_user_see"), *super().get_urls()]

    def see_view(self, request: HttpRequest, user_id: int) -> HttpResponse:
        """Ask why, then see the site as this user does."""
        user, actor = self.get_object(request, str(user_id)), request.user
        if user is None:
            raise Http404
        if not isinstance(actor, User) or not seeing.may_see(actor, user):
            raise PermissionDenied
        form = SeeForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            reason = form.cleaned_data["reason"]
            seeing.begin(request, user, reason=reason, now=timezone.now())
            return redirect("home")
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": user,
            "title": now_("See the site as {email}").format(email=user.email),
            "words": now_(
                "You see every page as this user does, for 30 minutes, and can change nothing. "
                "The admin is closed meanwhile. That you look, why, and each file that you "
                "download is written down."
            ),
            "button": now_("See as this user"),
            "back": reverse("admin:accounts_user_change", args=[user.pk]),
            "form": form,
        }
        return TemplateResponse(request, "admin/step.html", context)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> Any:  # noqa: A002 - Django's name
        """Set a password; that it was set is noted, and nothing of it."""
        with transaction.atomic():
            before = self._password_of(request, id)
            response = super().user_change_password(request, id, form_url)
            user = self.get_object(request, id)
            if user is not None and user.password != before:
                after = {"can_sign_in_by_it": user.has_usable_password()}
                trail.record(request, "user.set_password", user, after=after)
            return response

    def _password_of(self, request: HttpRequest, pk: str) -> str | None:
        user = self.get_object(request, pk)
        return user.password if user is not None else None

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Tell what the apps know of the user, and what can be done for them."""
        obj = kwargs.get("obj")
        if obj is not None:
            told, steps = facts.of(request, obj)
            context["facts"] = [_limits(obj), *told]
            context["steps"] = [*steps, *_see_step(request, obj)]
            context["latest"] = _latest(request, obj)
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description=_("password"))
    def sign_in(self, user: User) -> str:
        """Whether there is one, and where another is set; nothing of what is stored of it."""
        word = now_("Set") if user.has_usable_password() else now_("None")
        address = reverse("admin:auth_user_password_change", args=[user.pk])
        return format_html('{} · <a href="{}">{}</a>', word, address, now_("Set another"))

    @admin.display(description=_("state"))
    def state(self, user: User) -> str:
        """Whether somebody can come in, and if not, why."""
        if user.erased_at:
            return now_("Erased")
        if user.erasing_at:
            return now_("Is being erased")
        if not user.is_active:
            return now_("Switched off")
        return now_("Active") if user.email_verified_at else now_("Address not confirmed")


admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, RecordedAdmin):  # type: ignore[misc]
    """Rights that several of staff have together."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        """For superusers, who give rights."""
        return bool(request.user.is_superuser) and super().has_module_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """By superusers alone."""
        return bool(request.user.is_superuser)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """By superusers alone: a group's rights are its members'."""
        return bool(request.user.is_superuser)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """By superusers alone."""
        return bool(request.user.is_superuser)


def _see_step(request: HttpRequest, user: User) -> list[Step]:
    actor: Any = request.user
    if not seeing.may_see(actor, user):
        return []
    url = reverse("admin:accounts_user_see", args=[user.pk])
    return [Step(label=now_("See as this user"), url=url)]


def _limits(user: User) -> Fact:
    """The plan that counts, with its two most asked figures."""
    plan = plans.plan_for(user)
    images = ngettext("{n} image per batch", "{n} images per batch", plan.batch_images)
    size = filesizeformat(plan.library_bytes)
    return Fact(
        label=now_("Plan") if user.plan_id else now_("Plan (the default)"),
        value=str(user.plan) if user.plan else plan.name,
        note=f"{images.format(n=number_format(plan.batch_images, force_grouping=True))} · {size}",
    )


def _latest(request: HttpRequest, user: User) -> list[dict[str, Any]]:
    """The newest keys, connections and actions, as far as whoever asks may see them."""
    uid = str(user.uid)
    found: list[tuple[Any, str, Any, Any]] = [
        (_("API keys"), "apikey", user.api_keys.order_by("-pk"), f"user__id__exact={user.pk}"),
        (
            _("Connections"),
            "connection",
            user.connections.order_by("-pk"),
            f"owner__id__exact={user.pk}",
        ),
        (
            _("Staff actions"),
            "staffaction",
            StaffAction.objects.filter(target_kind="accounts.user", target_id=uid).order_by("-at"),
            f"q={uid}",
        ),
    ]
    return [
        {
            "title": title,
            "rows": [_line(row, name) for row in rows[:LATEST]],
            "url": f"{reverse(f'admin:accounts_{name}_changelist')}?{query}",
        }
        for title, name, rows, query in found
        if request.user.has_perm(f"accounts.view_{name}")
    ]


def _line(row: ApiKey | Connection | StaffAction, name: str) -> dict[str, Any]:
    """One row of such a table: what it is, more about it, since when, and its page."""
    if isinstance(row, ApiKey):
        what, more, at = str(row), now_("revoked") if row.revoked_at else "", row.created_at
    elif isinstance(row, Connection):
        what, more, at = f"{row.name} ({row.get_kind_display()})", row.error_code, row.created_at
    else:
        what, at = row.action, row.at
        more = " · ".join(filter(None, (row.actor_email, row.reason)))
    url = reverse(f"admin:accounts_{name}_change", args=[row.pk])
    return {"what": what, "more": more, "at": at, "url": url}
