"""What the demo site shows."""

from __future__ import annotations

from django.db import models
from django.urls import reverse


class Article(models.Model):
    title = models.CharField(max_length=120)
    topic = models.CharField(max_length=40)
    body = models.TextField()
    published = models.DateField()
    updated = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("-published", "-pk")

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("article-detail", args=[self.pk])
