"""Django's entry for the app."""

from django.apps import AppConfig


class CreditsConfig(AppConfig):
    """See the package's own docstring."""

    name = "credits"
    default_auto_field = "django.db.models.BigAutoField"
