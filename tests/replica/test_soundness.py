"""A damaged file is found to be one, whatever is in it."""

from __future__ import annotations

import pytest

from django_hacache.replica.soundness import damage
from tests.fuzz.pages import whole

PAGE = 4096


def found_in(tmp_path, pages):
    path = tmp_path / "file"
    path.write_bytes(pages)
    with path.open("rb") as file:
        return [damage(file.fileno(), transaction) for transaction in range(6)]


def test_a_whole_file_is_whole(tmp_path):
    assert found_in(tmp_path, whole()) == [None] * 6


@pytest.mark.parametrize("page_bytes", [0, 1, 1 << 20])
def test_pages_of_an_impossible_length_are_damage(tmp_path, page_bytes):
    pages = bytearray(whole())
    pages[40:44] = page_bytes.to_bytes(4, "little")
    assert any(found_in(tmp_path, pages))


def test_a_page_that_is_in_two_places_is_damage_and_no_endless_walk(tmp_path):
    pages = bytearray(whole())
    branches = [at for at in range(0, len(pages), PAGE) if pages[at + 10] & 1 and at >= 2 * PAGE]
    for at in branches:
        first = at + int.from_bytes(pages[at + 16 : at + 18], "little")
        pages[first : first + 6] = (at // PAGE).to_bytes(6, "little")  # its own number
    assert branches
    assert any("two places" in (found or "") for found in found_in(tmp_path, pages))
