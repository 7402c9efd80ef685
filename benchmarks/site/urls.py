"""Where the pages are."""

from __future__ import annotations

from django.urls import path

from benchmarks.site import views

urlpatterns = [path("front/", views.front), path("article/", views.article)]
