"""Whether a file is still where it was."""

from __future__ import annotations

from django_hacache.system.directory import identity, is_still


def test_a_file_is_still_there_until_it_is_known_to_be_gone_or_another_one(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"")
    known = identity(path.stat())
    assert is_still(path, known)
    other = tmp_path / "other"
    other.write_bytes(b"")
    other.rename(path)
    assert not is_still(path, known)
    path.unlink()
    assert not is_still(path, known)
    path.symlink_to(path)
    assert is_still(path, known), "a way that cannot be gone says nothing of it"
