"""The gateway app."""

from django.apps import AppConfig


class GatewayConfig(AppConfig):
    """Machine facts: what arrived, what was found, what was sent."""

    name = "gateway"
    verbose_name = "ECG Gateway"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from gateway import checks, reconfiguration  # noqa: F401  (registers the system checks)

        reconfiguration.watch()
