"""Admin pages whose every change is noted in the record of what staff does."""

from collections.abc import Iterable
from typing import Any

from django.db import models, transaction
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode

from accounts import trail
from accounts.lists import DiscreetAdmin


class RecordedAdmin(DiscreetAdmin):
    """Adding, changing and deleting are noted with before and after, in the same transaction.

    Our own record is the only one: Django's is not written, and the history of a row leads there.
    """

    def save_model(
        self, request: HttpRequest, obj: models.Model, form: ModelForm, change: bool
    ) -> None:
        """Store the row, and remember what it was until its relations are stored, too."""
        form.before = _snapshot(_stored(obj), form.changed_data) if change else {}  # type: ignore[attr-defined]
        super().save_model(request, obj, form, change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Store what goes with the row, and note what changed."""
        super().save_related(request, form, formsets, change)
        row = form.instance
        after = _snapshot(row, form.changed_data if change else form.fields)
        if after or not change:
            verb = "change" if change else "add"
            trail.record(request, action(row, verb), row, before=form.before, after=after)

    def delete_model(self, request: HttpRequest, obj: models.Model) -> None:
        """Delete the row and note what it was."""
        with transaction.atomic():
            self._note_deletion(request, [obj])
            super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet) -> None:
        """The same for many, a line for each."""
        with transaction.atomic():
            self._note_deletion(request, queryset)
            super().delete_queryset(request, queryset)

    def history_view(
        self,
        request: HttpRequest,
        object_id: str,
        extra_context: Any = None,  # noqa: ARG002
    ) -> HttpResponse:
        """What staff did with this row, in our own record."""
        row = self.get_object(request, object_id)
        found = {"q": trail.id_of(row) if row is not None else object_id}
        found["target_kind"] = self.opts.label_lower
        address = reverse("admin:accounts_staffaction_changelist")
        return redirect(f"{address}?{urlencode(found)}")

    def _note_deletion(self, request: HttpRequest, rows: Iterable[models.Model]) -> None:
        for row in rows:
            columns = [field.name for field in row._meta.concrete_fields if not field.primary_key]
            trail.record(request, action(row, "delete"), row, before=_snapshot(row, columns))

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Nothing: our own record has it."""

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Nothing: our own record has it."""

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        """Nothing: our own record has it."""


def action(row: models.Model, verb: str) -> str:
    """What was done, as the record calls it: `plan.change`."""
    return f"{row._meta.model_name}.{verb}"


def _stored(row: models.Model) -> models.Model:
    return type(row)._default_manager.get(pk=row.pk)


def _snapshot(row: models.Model, names: Iterable[str]) -> dict[str, Any]:
    """Those of the row's fields, as people read them; what is no field of it is left out."""
    fields = {field.name: field for field in row._meta.get_fields() if hasattr(field, "attname")}
    return {name: _readable(row, fields[name]) for name in names if name in fields}


def _readable(row: models.Model, field: Any) -> Any:
    if field.many_to_many:
        return ", ".join(sorted(map(str, getattr(row, field.name).all())))
    value = getattr(row, field.name)
    return str(value) if isinstance(value, models.Model) else value
