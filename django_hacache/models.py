"""The cluster as Django's permissions and admin see it. There is no table behind it, and nothing is stored."""

from __future__ import annotations

from django.db import models


class Cluster(models.Model):
    """Gives the admin's page its place in the index and its permission, `django_hacache.view_cluster`."""

    # Named, so that a project's DEFAULT_AUTO_FIELD never makes makemigrations want to change it.
    id = models.BigAutoField(primary_key=True)

    class Meta:
        managed = False
        default_permissions = ("view",)
        verbose_name = "cache cluster"
        verbose_name_plural = "cache cluster"

    def __str__(self) -> str:
        return "cache cluster"
