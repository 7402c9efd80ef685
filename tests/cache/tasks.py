"""Celery's side of the site: each task does the work of a request and leaves its answer in the cache."""

from __future__ import annotations

import os

from celery import Celery
from django.core.cache import cache

from tests.cache.serving import work

app = Celery(
    broker="filesystem://",
    broker_transport_options={
        "data_folder_in": os.environ["HACACHE_TEST_QUEUE"],
        "control_folder": os.environ["HACACHE_TEST_QUEUE"] + "/control",
        "data_folder_out": os.environ["HACACHE_TEST_QUEUE"],
        "polling_interval": 0.02,
    },
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=False,
)


@app.task(name="work")
def task(name: str, rounds: int) -> None:
    cache.set(f"answer:{name}", work(name, rounds))
