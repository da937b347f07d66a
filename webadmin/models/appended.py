"""Rows that are appended once: what was judged or done is not judged or done otherwise later."""

from __future__ import annotations

from typing import Any

from django.db import models


class Appended(models.Model):
    """A row that is saved once, and neither changed nor deleted through the ORM."""

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError(f"a {type(self).__name__} is appended once and never changed")
        super().save(*args, **kwargs)

    def delete(self, *_args: Any, **_kwargs: Any) -> tuple[int, dict[str, int]]:
        raise TypeError(f"a {type(self).__name__} is never deleted")
