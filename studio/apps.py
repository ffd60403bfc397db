"""Django's entry for the app."""

from django.apps import AppConfig


class StudioConfig(AppConfig):
    """See the package's own docstring."""

    name = "studio"

    def ready(self) -> None:
        """Register the checks of the configuration."""
        from studio import checks  # noqa: F401
