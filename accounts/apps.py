"""Django's entry for the app."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """See the package's own docstring."""

    name = "accounts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Note when staff come and go."""
        from django.contrib.auth.signals import user_logged_in, user_logged_out

        from accounts import trail

        user_logged_in.connect(trail.signed_in, dispatch_uid="accounts.signed_in")
        user_logged_out.connect(trail.signed_out, dispatch_uid="accounts.signed_out")
