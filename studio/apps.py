"""Django's entry for the app."""

from django.apps import AppConfig


class StudioConfig(AppConfig):
    """See the package's own docstring."""

    name = "studio"
    default_auto_field = "django.db.models.BigAutoField"
