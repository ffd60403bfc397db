"""Admin pages whose every change is noted in the record of what staff does."""

from collections.abc import Iterable
from typing import Any

from django.db import models, transaction
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from accounts import trail


class RecordedAdmin(ModelAdmin):
    """Adding, changing and deleting are noted with before and after, in the same transaction."""

    def save_model(
        self, request: HttpRequest, obj: models.Model, form: ModelForm, change: bool
    ) -> None:
        """Store the row and note what changed."""
        names = [name for name in form.changed_data if _is_column(obj, name)]
        with transaction.atomic():
            before: dict[str, Any] = {}
            if change:
                row = type(obj)._default_manager.filter(pk=obj.pk).values(*names).first()
                before = dict(row or {})
            super().save_model(request, obj, form, change)
            after = {name: _value(obj, name) for name in names}
            verb = "change" if change else "add"
            if names or not change:
                trail.record(request, action(obj, verb), obj, before=before, after=after)

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

    def _note_deletion(self, request: HttpRequest, rows: Iterable[models.Model]) -> None:
        for row in rows:
            columns = [field.name for field in row._meta.concrete_fields if not field.primary_key]
            before = {name: _value(row, name) for name in columns}
            trail.record(request, action(row, "delete"), row, before=before)

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Nothing: our own record has it."""

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Nothing: our own record has it."""

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        """Nothing: our own record has it."""


def action(row: models.Model, verb: str) -> str:
    """What was done, as the record calls it: `plan.change`."""
    return f"{row._meta.model_name}.{verb}"


def _is_column(row: models.Model, name: str) -> bool:
    return any(field.name == name for field in row._meta.concrete_fields)


def _value(row: models.Model, name: str) -> Any:
    return getattr(row, row._meta.get_field(name).attname)  # type: ignore[union-attr]
