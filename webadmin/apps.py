"""The Desk as a Django app."""

from django.apps import AppConfig


class WebadminConfig(AppConfig):
    """The screens, and later the judgements of people."""

    name = "webadmin"
    verbose_name = "Desk"
    default_auto_field = "django.db.models.BigAutoField"
