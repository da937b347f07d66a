"""Who sits at the Desk."""

from __future__ import annotations

from django.contrib.auth.models import Permission, User
from django.test import Client


def make_user(name: str, *permissions: str, is_superuser: bool = False) -> User:
    """Return a member of staff with these permissions, such as ``view_instance``."""
    user = User.objects.create(
        username=name, is_staff=True, is_superuser=is_superuser, password="!"
    )
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


def signed_in(user: User) -> Client:
    """Return a browser in which `user` is signed in."""
    client = Client()
    client.force_login(user)
    return client


READ = (
    "view_instance",
    "view_study",
    "view_report",
    "view_delivery",
    "view_dispatch",
    "view_commitment",
    "view_custodyrequest",
    "view_alert",
    "view_alertrule",
    "view_rule",
    "view_peer",
    "view_modelversion",
    "view_transition",
    "view_association",
    "view_disposal",
)
