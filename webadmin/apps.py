"""The Desk as a Django app."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy


class WebadminConfig(AppConfig):
    """The screens, and the judgements of people."""

    name = "webadmin"
    verbose_name = gettext_lazy("Desk")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Listen to who comes and goes, speak their language, keep pictures that people need."""
        from gateway import retention
        from webadmin import audit, curation, speaking, trainingsets

        audit.connect()
        speaking.translate()
        retention.hold("in a frozen training set", trainingsets.frozen_instances)
        retention.hold("to be read by people", curation.waiting_instances)
