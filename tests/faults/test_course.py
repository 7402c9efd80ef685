"""The picture of a cache at its limit."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from tests.faults.course import MIB, Course, Sample, svg


def test_the_picture_shows_every_host_the_limit_and_each_second():
    samples = [Sample(at, host, at * MIB, 50 * MIB) for at in range(10) for host in range(3)]
    seconds = [{"reads": 10, "hits": at, "stored": 5, "failed": 0} for at in range(10)]
    root = ET.fromstring(svg(Course(samples, seconds, 64 * MIB), "At the limit"))
    lines = [one.get("points").split() for one in root.iter("{http://www.w3.org/2000/svg}polyline")]
    assert [len(points) for points in lines] == [10] * 9
    words = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"At the limit", "host 1", "host 2", "host 3", "SIZE_LIMIT"} <= set(words)


def test_a_picture_without_a_sample_is_one_all_the_same():
    ET.fromstring(svg(Course([], [], 64 * MIB), "Nothing"))
