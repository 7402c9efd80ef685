"""Worker and node of one host talk here, over a Unix socket. Knows no replica, no Django and no gRPC."""

from __future__ import annotations

from django_hacache.link.asynchronous import AsyncNodeClient
from django_hacache.link.blocking import NodeClient
from django_hacache.link.server import LinkServer

__all__ = ["AsyncNodeClient", "LinkServer", "NodeClient"]
