"""The admin's page "Cache cluster": what `manage.py hacache_status` says, for staff with its permission."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.views.decorators.cache import never_cache

from django_hacache.exceptions import ConfigurationError
from django_hacache.models import Cluster
from django_hacache.status import locations, read_status

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

# A page that waits for a dead node must still come soon.
NODE_TIMEOUT_S = 1.0


@admin.register(Cluster)
class ClusterAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # takes none at run time
    """Shows the cluster where other models show their list. Nothing can be added, changed or deleted."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(never_cache(self.changelist_view))
        return [path("", view, name="django_hacache_cluster_changelist")]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        statuses, problem = [], ""
        try:
            statuses = [read_status(location, timeout_s=NODE_TIMEOUT_S) for location in locations()]
        except ConfigurationError as error:
            problem = str(error)
        context = {
            **self.admin_site.each_context(request),
            "title": "Cache cluster",
            "opts": self.opts,
            "statuses": statuses,
            "problem": problem,
            **(extra_context or {}),
        }
        return TemplateResponse(request, "django_hacache/cluster.html", context)
