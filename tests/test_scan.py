"""What a scan finds in a folder, what it refuses, and how two scans differ."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from memesearch.errors import Unavailable
from memesearch.library.records import FileStat
from memesearch.library.scan import difference, scan

FOLDERS = some.lists(some.builds(FileStat, some.sampled_from("abcdef"), some.integers(0, 2), some.integers(0, 2)))


def as_folder(files: list[FileStat]) -> dict[str, FileStat]:
    return {file.path: file for file in files}


@settings(deadline=None)
@given(FOLDERS.map(as_folder), FOLDERS.map(as_folder))
def test_applying_the_difference_makes_what_is_known_equal_the_disk(
    on_disk: dict[str, FileStat], known: dict[str, FileStat]
) -> None:
    change = difference(on_disk, known)
    kept = {path: file for path, file in known.items() if path not in change.gone}
    assert kept | as_folder(change.changed) == on_disk
    assert not [file for file in change.changed if file in known.values()]
    assert sorted(change.gone) == sorted(set(known) - set(on_disk))
    assert [file for file in on_disk.values() if file in change.changed] == change.changed


def put(path: Path) -> Path:
    """A file that a scan takes for a picture; it never looks inside."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"anything")
    return path


def test_a_file_is_found_with_its_size_and_time(tmp_path: Path) -> None:
    file = put(tmp_path / "a/b/c.JPG")
    os.utime(file, ns=(0, 1_234_567_890_123_456_789))
    assert scan(tmp_path).files == {"a/b/c.JPG": FileStat("a/b/c.JPG", 1_234_567_890_123_456_789, 8)}


def test_the_newest_come_first_across_folders(tmp_path: Path) -> None:
    for age, name in enumerate(["b/newest.png", "a/newer.png", "older.png", "b/oldest.png"]):
        os.utime(put(tmp_path / name), ns=(0, 10**18 - age))
    assert list(scan(tmp_path).files) == ["b/newest.png", "a/newer.png", "older.png", "b/oldest.png"]


def test_only_visible_regular_files_with_a_pictures_extension_are_found(tmp_path: Path) -> None:
    for name in ["picture.webp", ".hidden.png", ".thumbnails/small.png", "a/.trash/old.png", "notes.txt", "png"]:
        put(tmp_path / name)
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    found = scan(tmp_path)
    assert list(found.files) == ["picture.webp"]
    assert found.refused == {}


def test_a_link_to_a_file_inside_is_followed(tmp_path: Path) -> None:
    target = put(tmp_path / "a/real.png")
    os.utime(target, ns=(0, 5 * 10**9))
    (tmp_path / "link.png").symlink_to("a/real.png")
    found = scan(tmp_path)
    assert found.files["link.png"] == FileStat("link.png", 5 * 10**9, 8)
    assert set(found.files) == {"a/real.png", "link.png"}


def test_links_that_lead_out_are_refused_with_the_reason(tmp_path: Path) -> None:
    root = tmp_path / "root"
    put(root / "inside.png")
    secret = put(tmp_path / "root-beside/secret.png")
    (root / "file.png").symlink_to(secret)
    (root / "relative.png").symlink_to("../root-beside/secret.png")
    (root / "folder").symlink_to(secret.parent)
    (root / "twice.png").symlink_to("file.png")
    (root / "words").symlink_to("/etc/hostname")
    found = scan(root)
    assert set(found.files) == {"inside.png"}
    assert set(found.refused) == {"file.png", "relative.png", "folder", "twice.png"}
    assert set(found.refused.values()) == {"is a link that leads out of the library's folder"}


def test_loops_of_links_end(tmp_path: Path) -> None:
    put(tmp_path / "a/b/picture.png")
    (tmp_path / "a/b/up").symlink_to(tmp_path)
    (tmp_path / "a/self").symlink_to(".")
    (tmp_path / "one.png").symlink_to("two.png")
    (tmp_path / "two.png").symlink_to("one.png")
    (tmp_path / "broken.png").symlink_to("nothing.png")
    found = scan(tmp_path)
    assert set(found.files) == {"a/b/picture.png"}
    assert set(found.refused) == {"one.png", "two.png", "broken.png"}
    assert all(reason.startswith("cannot be looked at: ") for reason in found.refused.values())


def test_a_root_that_is_itself_a_link_is_scanned(tmp_path: Path) -> None:
    put(tmp_path / "real/a.png")
    (tmp_path / "real/b.png").symlink_to("a.png")
    (tmp_path / "link").symlink_to("real")
    found = scan(tmp_path / "link")
    assert (set(found.files), found.refused) == ({"a.png", "b.png"}, {})


def test_names_that_are_not_utf_8_are_refused_and_shown_as_escapes(tmp_path: Path) -> None:
    put(tmp_path / os.fsdecode(b"bad\xff.png"))
    put(tmp_path / os.fsdecode(b"bad\xfe") / "good.png")
    put(tmp_path / os.fsdecode(b"bad\xfd.txt"))
    found = scan(tmp_path)
    assert found.files == {}
    assert found.refused == dict.fromkeys(
        ["bad\\xff.png", "bad\\xfe/good.png"], "has a name that is not valid UTF-8; rename it"
    )


def test_every_other_name_is_kept_as_it_is(tmp_path: Path) -> None:
    names = {"line\nbreak.png", "'quo\"te.png", "<script>alert(1)<.png", " a\\b\t?#%41 .png"}
    names |= {"ünï🙂.png", "e\u0301.png", "\u202egnp.png", "new\nfolder/a.png", "-rf.png", "a" * 251 + ".png"}
    for name in names:
        put(tmp_path / name)
    found = scan(tmp_path)
    assert (set(found.files), found.refused) == (names, {})


def test_a_folder_that_cannot_be_read_is_recorded_and_the_others_are_scanned(tmp_path: Path) -> None:
    put(tmp_path / "open/a.png")
    put(tmp_path / "closed/b.png")
    (tmp_path / "closed").chmod(0)
    if os.access(tmp_path / "closed", os.R_OK):
        pytest.skip("nothing is denied to root")
    try:
        found = scan(tmp_path)
    finally:
        (tmp_path / "closed").chmod(0o700)
    assert set(found.files) == {"open/a.png"}
    assert found.refused == {"closed": "the folder cannot be read: Permission denied"}


@pytest.mark.parametrize("name", ["missing", "file.png"])
def test_a_root_that_is_not_a_folder_says_so_instead_of_being_empty(tmp_path: Path, name: str) -> None:
    put(tmp_path / "file.png")
    with pytest.raises(Unavailable, match=rf"^the folder .*/{name} cannot be read: N\w+ [\w ]+$"):
        scan(tmp_path / name)
