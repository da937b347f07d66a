"""The Desk as a Django app."""

from django.apps import AppConfig


class WebadminConfig(AppConfig):
    """The screens, and the judgements of people."""

    name = "webadmin"
    verbose_name = "Desk"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Listen to who comes and goes, and keep the pictures that people still need."""
        from gateway import retention
        from webadmin import audit, curation, trainingsets

        audit.connect()
        retention.hold("in a frozen training set", trainingsets.frozen_instances)
        retention.hold("to be read by people", curation.waiting_instances)
