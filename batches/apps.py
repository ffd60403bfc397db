"""Django's entry for the app."""

from django.apps import AppConfig


class BatchesConfig(AppConfig):
    """See the package's own docstring."""

    name = "batches"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Let statements name batches."""
        from batches.references import KIND, describe
        from credits import references

        references.register(KIND, describe)
