"""Django's entry for the app."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """See the package's own docstring."""

    name = "accounts"
    default_auto_field = "django.db.models.BigAutoField"
