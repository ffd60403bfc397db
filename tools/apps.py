"""Django's entry for the app."""

from django.apps import AppConfig
from django.conf import settings


class ToolsConfig(AppConfig):
    """See the package's own docstring."""

    name = "tools"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Tell the engines where the weights and the services are, and find the tools."""
        from tools import outside, registry
        from tools.engines import weights

        weights.configure(folder=settings.WEIGHTS_DIR)
        outside.configure()
        registry.autodiscover()
