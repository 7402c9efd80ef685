"""Where the pages are. What is below `visited/` saves the session of whoever asks."""

from __future__ import annotations

from django.urls import path

from benchmarks.site import api, views

urlpatterns = [
    path("front/", views.front),
    path("article/", views.article),
    path("visited/front/", views.remembered(views.front)),
    path("visited/article/", views.remembered(views.article)),
    path("ten/", views.many_writes),
    path("api/listed/", api.listed),
    path("api/counted/", api.counted),
]
