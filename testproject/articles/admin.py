"""Articles in the admin: editing one shows its cached fragment being replaced."""

from __future__ import annotations

from django.contrib import admin

from testproject.articles.models import Article


@admin.register(Article)
class ArticleAdmin(admin.ModelAdmin):  # type: ignore[type-arg] # takes none when it runs
    list_display = ("title", "topic", "published")
    list_filter = ("topic",)
    search_fields = ("title",)
