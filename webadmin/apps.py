"""The Desk as a Django app."""

from django.apps import AppConfig


class WebadminConfig(AppConfig):
    """The screens, and the judgements of people."""

    name = "webadmin"
    verbose_name = "Desk"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Listen to what Django says of people who come and go."""
        from webadmin import audit

        audit.connect()
