"""What differs between operating systems."""

from __future__ import annotations

from pathlib import Path

import pytest

from django_hacache import system

MOUNTINFO = r"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
25 22 0:24 / /dev/shm rw,nosuid,nodev shared:4 - tmpfs tmpfs rw
30 22 0:30 / /srv/with\040blank rw shared:9 - btrfs /dev/sdb rw
31 22 0:31 / /srv/over rw - xfs /dev/sdc rw
32 31 0:32 / /srv/over rw - ramfs none rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/cache/site", "ext4"),
        ("/dev/shm", "tmpfs"),
        ("/dev/shm/site/not/there/yet", "tmpfs"),
        ("/dev/shmem", "ext4"),
        ("/srv/with blank/site", "btrfs"),
        ("/srv/over/site", "ramfs"),
    ],
)
def test_the_file_system_of_a_path_is_that_of_the_mount_that_it_is_under(
    path: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mountinfo").write_text(MOUNTINFO)
    monkeypatch.setattr(system, "MOUNTS", tmp_path / "mountinfo")
    assert system.file_system_of(Path(path)) == kind


def test_where_the_system_has_no_list_of_mounts_the_file_system_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "MOUNTS", tmp_path / "none")
    assert system.file_system_of(tmp_path) is None


def test_the_file_system_of_this_machine_is_known(tmp_path: Path) -> None:
    assert system.file_system_of(tmp_path) is not None
