"""One cluster on a network of namespaces for all scenarios; each finds it whole, and leaves it for the next."""

from __future__ import annotations

import os

import pytest

from tests.faults.cluster import Cluster
from tests.faults.laboratory import laboratory
from tests.faults.network import why_impossible


@pytest.fixture(scope="package")
def _lasting():
    reason = why_impossible()
    if reason is not None:
        if os.environ.get("HACACHE_REQUIRE_ALL_TESTS"):
            pytest.fail(reason)
        pytest.skip(reason)
    with laboratory() as made:
        yield made


@pytest.fixture
def cluster(_lasting):
    cluster, _ = _lasting
    cluster.repair()
    yield cluster
    cluster.network.heal()


@pytest.fixture
def recorders(_lasting):
    return _lasting[1]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Show what the nodes logged where a scenario fails."""
    report = yield
    cluster = getattr(item, "funcargs", {}).get("cluster")
    if report.failed and call.when == "call" and isinstance(cluster, Cluster):
        lines = [line for host in cluster.hosts for line in host.log.read_text().splitlines()[-25:]]
        report.sections.append(("the last lines of the nodes' logs", "\n".join(sorted(lines))))
    return report
