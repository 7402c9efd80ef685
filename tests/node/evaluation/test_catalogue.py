"""What the hosts say of their caches, and where that differs."""

import pytest

from django_hacache.node.evaluation.catalogue import Catalogue, Difference, limits_to_wire, sentence_about
from tests.node.options import options_of


def said(**options):
    return limits_to_wire({"default": options_of("default", **options)})


@pytest.fixture
def catalogue():
    return Catalogue(["default"], ["web2:7001", "web3:7001"], said(SIZE_LIMIT="64MiB"))


def test_hosts_with_the_same_limits_do_not_differ(catalogue):
    assert catalogue.says("web2:7001", ["default"], said(SIZE_LIMIT=64 << 20)) == []
    assert catalogue.differences() == []


@pytest.mark.parametrize(
    ("option", "value", "here", "there"),
    [
        ("SIZE_LIMIT", "32MiB", 64 << 20, 32 << 20),
        ("MAX_ENTRIES", 300, None, 300),
        ("CULL_FREQUENCY", 0, 3, 0),
        ("MAX_VALUE_SIZE", 1000, 8 << 20, 1000),
    ],
)
def test_a_limit_that_another_host_has_otherwise_is_told_until_that_host_says_the_same(
    catalogue, option, value, here, there
):
    theirs = said(**{"SIZE_LIMIT": "64MiB", option: value})
    expected = Difference("web2:7001", "default", option, there, here)
    assert catalogue.says("web2:7001", ["default"], theirs) == [expected]
    catalogue.says("web3:7001", ["default"], said(SIZE_LIMIT="64MiB"))
    assert catalogue.differences() == [expected]
    for told in ("web2:7001", option, "'default'", str(there), "none" if here is None else str(here)):
        assert told in sentence_about(expected)
    catalogue.says("web2:7001", ["default"], said(SIZE_LIMIT="64MiB"))
    assert catalogue.differences() == []


def test_what_one_side_does_not_say_differs_in_nothing(catalogue):
    other = limits_to_wire({"other": options_of("other")})
    assert catalogue.says("web2:7001", ["other"], other) == []
    assert catalogue.says("web2:7001", ["default"]) == []


def test_nothing_is_unused_before_every_host_has_said_what_it_serves(catalogue):
    catalogue.says("web2:7001", ["default", "pages"])
    assert catalogue.unused(["default", "pages", "gone"]) == []
    catalogue.says("web3:7001", ["default"])
    assert catalogue.unused(["default", "pages", "gone"]) == ["gone"]
