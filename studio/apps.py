"""Django's entries for the app and for the admin."""

from django.apps import AppConfig
from django.contrib.admin import apps as admin


class StudioConfig(AppConfig):
    """See the package's own docstring."""

    name = "studio"

    def ready(self) -> None:
        """Register the checks of the configuration."""
        from studio import checks  # noqa: F401


class DeskConfig(admin.AdminConfig):
    """The admin with our site, in place of Django's."""

    default = False  # not for the app `studio`
    default_site = "studio.desk.Desk"
