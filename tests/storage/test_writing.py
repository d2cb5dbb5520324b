"""A file is the old one or the new one, whoever writes beside or dies; nobody else's file is touched."""

import errno
import os
import stat
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest

from skvardict.storage import writing
from skvardict.storage.files import DamagedFileError, open_file, read_json
from skvardict.storage.writing import replacing

MODULE = Path(writing.__file__)  # of the standard library alone: a process of its own starts at once


def write(path, data, **options):
    with replacing(path, **options) as file:
        file.write(data)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def look_again(monkeypatch):
    monkeypatch.setattr(writing, "_looked_through", set())


def test_a_file_is_written_and_replaced_and_nothing_is_left(tmp_path):
    for data in (b"one", b"two"):
        write(tmp_path / "file", data)
        assert (tmp_path / "file").read_bytes() == data
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_writers_at_the_same_time_do_not_disturb_each_other(tmp_path):
    all_wrote = Barrier(4)

    def write_together(byte):
        with replacing(tmp_path / "file") as file:
            file.write(byte * 100_000)
            all_wrote.wait(timeout=30)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write_together, [b"1", b"2", b"3", b"4"]))
    data = (tmp_path / "file").read_bytes()
    assert len(data) == 100_000
    assert len(set(data)) == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_of_writers_of_a_new_file_one_succeeds(tmp_path):
    all_wrote, failed = Barrier(4), []

    def write_new(byte):
        try:
            with replacing(tmp_path / "file", new=True) as file:
                file.write(byte)
                all_wrote.wait(timeout=30)
        except FileExistsError as error:
            failed.append((byte, error.filename))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write_new, [b"1", b"2", b"3", b"4"]))
    assert len(failed) == 3
    assert {name for _, name in failed} == {str(tmp_path / "file")}
    assert (tmp_path / "file").read_bytes() not in dict(failed)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), ValueError()])
def test_an_error_leaves_the_old_file(tmp_path, error):
    write(tmp_path / "file", b"old")

    def fail(file):
        file.write(b"half")
        raise error

    with pytest.raises(type(error)), replacing(tmp_path / "file") as file:
        fail(file)
    assert (tmp_path / "file").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("permissions", [0o600, 0o640, 0o400, 0o444, 0o755])
def test_permissions_of_the_file_before_are_kept(tmp_path, permissions):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(permissions)
    write(path, b"new")
    assert path.read_bytes() == b"new"
    assert mode(path) == permissions


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_a_new_file_follows_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        write(tmp_path / "file", b"new")
    finally:
        os.umask(before)
    assert mode(tmp_path / "file") == 0o666 & ~umask


def test_what_was_private_is_private_while_it_is_written(tmp_path):
    write(tmp_path / "file", b"old")
    (tmp_path / "file").chmod(0o600)
    with replacing(tmp_path / "file") as file:
        assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600


def test_no_link_is_followed(tmp_path):
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "link").symlink_to("precious")
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("link", "dangling"):
        write(tmp_path / name, b"new")
        assert not (tmp_path / name).is_symlink()
        assert (tmp_path / name).read_bytes() == b"new"
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert not (tmp_path / "nowhere").exists()


def test_files_of_the_user_with_names_like_ours_stay(tmp_path):
    names = ["file.tmp", "file.part", ".file.tmp", ".skvardict-notes.tmp", "file.previous"]
    for name in names:
        (tmp_path / name).write_bytes(b"mine")
        os.utime(tmp_path / name, (0, 0))
    write(tmp_path / "file", b"one")
    write(tmp_path / "file", b"two")
    assert all((tmp_path / name).read_bytes() == b"mine" for name in names)


def test_folders_pipes_and_devices_are_left_alone(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/null")
    for name in ("folder", "pipe", "device"):
        before = (tmp_path / name).lstat()
        with pytest.raises(OSError, match=rf"{name}"):
            write(tmp_path / name, b"new")
        assert (tmp_path / name).lstat() == before
        with pytest.raises((DamagedFileError, IsADirectoryError), match=name):
            open_file(tmp_path / name)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        write(tmp_path / "nowhere" / "file", b"new")
    assert caught.value.filename == str(tmp_path / "nowhere" / "file")
    assert str(caught.value) == f"[Errno 2] No such file or directory: '{tmp_path}/nowhere/file'"


@pytest.mark.parametrize(
    "name", ["x" * 255, "a\nb", "\u00e9\u4e2d", "-rf", os.fsdecode(b"\xff\xfe"), "a b'\"$(x)"], ids=ascii
)
def test_any_name_that_a_file_can_have(tmp_path, name):
    for data in (b"one", b"two"):
        write(tmp_path / name, data, previous=tmp_path / f"{name}.previous")
    assert (tmp_path / name).read_bytes() == b"two"


def test_the_file_before_is_kept_as_previous(tmp_path):
    for data in (b"1", b"2", b"3"):
        write(tmp_path / "file", data, previous=tmp_path / "file.previous")
    assert (tmp_path / "file").read_bytes() == b"3"
    assert (tmp_path / "file.previous").read_bytes() == b"2"


def test_without_hard_links_files_are_written_too(tmp_path, monkeypatch):
    def link(*args, **kwargs):
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(os, "link", link)
    path = tmp_path / "file"
    write(path, b"1", new=True)
    with pytest.raises(FileExistsError):
        write(path, b"2", new=True)
    write(path, b"3", previous=tmp_path / "file.previous")
    assert path.read_bytes() == b"3"
    assert (tmp_path / "file.previous").read_bytes() == b"1"
    assert len(list(tmp_path.iterdir())) == 2


class BehindError(Exception):
    """What is there is newer."""


def test_between_a_check_and_its_write_nobody_else_writes(tmp_path):
    """Numbers never go down: each is written only where a smaller one is found."""
    path, found = tmp_path / "file", []
    write(path, b"0")

    def write_number(number):
        def check():
            found.append(int(path.read_bytes()))
            if found[-1] >= number:
                raise BehindError

        with suppress(BehindError):
            write(path, b"%d" % number, check=check)

    numbers = np.random.default_rng(0).permutation(np.arange(1, 201)).tolist()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write_number, numbers))
    assert len(found) == 200
    assert found == sorted(found)
    assert path.read_bytes() == b"200"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_lock_that_is_stuck_does_not_stop_a_write(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "_SECONDS_OF_A_LOCK", 0.1)
    write(tmp_path / "file", b"old")
    with open(tmp_path / "file") as held:
        writing.fcntl.flock(held, writing.fcntl.LOCK_EX)
        write(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"


# ---------------------------------------------------------------------------------------------- what the dead have left


DYING = """
import importlib.util, os, signal, sys
spec = importlib.util.spec_from_file_location("writing", sys.argv[1])
writing = importlib.util.module_from_spec(spec)
spec.loader.exec_module(writing)
with writing.replacing(sys.argv[2]) as file:
    file.write(b"half")
    file.flush()
    print("begun", flush=True)
    if sys.argv[3] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdin.read()
"""


def begin_to_write(path, how):
    command = [sys.executable, "-c", DYING, str(MODULE), str(path), how]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"begun\n"
    return process


def unfinished(folder):
    return [path for path in folder.iterdir() if path.suffix == ".tmp"]


def test_what_a_killed_process_has_left_is_removed_by_the_next_writer(tmp_path):
    begin_to_write(tmp_path / "file", "die").communicate()
    assert len(unfinished(tmp_path)) == 1
    write(tmp_path / "other", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_what_a_living_process_writes_is_not_removed(tmp_path):
    process = begin_to_write(tmp_path / "file", "live")
    write(tmp_path / "other", b"new")
    assert len(unfinished(tmp_path)) == 1
    process.communicate()
    assert process.returncode == 0
    assert (tmp_path / "file").read_bytes() == b"half"


@pytest.mark.parametrize("days", [0, 2])
def test_files_of_other_machines_are_removed_when_nobody_has_touched_them_for_a_day(tmp_path, days):
    left = tmp_path / f".skvardict-{'0' * 16}-{'1' * 32}.tmp"
    left.write_bytes(b"half")
    os.utime(left, (time.time() - 86_400 * days,) * 2)
    write(tmp_path / "file", b"new")
    assert left.exists() == (days == 0)


def test_a_link_with_the_name_of_something_left_is_not_followed(tmp_path):
    (tmp_path / "precious").write_bytes(b"precious")
    left = tmp_path / f".skvardict-{'0' * 16}-{'1' * 32}.tmp"
    left.symlink_to("precious")
    os.utime(tmp_path / "precious", (0, 0))
    write(tmp_path / "file", b"new")
    assert (tmp_path / "precious").read_bytes() == b"precious"


# ---------------------------------------------------------------------------------------------------------------- JSON


@pytest.mark.parametrize(
    "text", [b"[" * 100_000, b"{", b"\xff\xfe", b"", b"1" * 5000, b" " * 2000 + b"1"], ids=range(6)
)
def test_json_that_is_damaged_or_long_is_refused(tmp_path, text):
    (tmp_path / "file").write_bytes(text)
    with pytest.raises(DamagedFileError):
        read_json(tmp_path / "file", most_bytes=2000 if text.startswith(b" ") else 2**20)


def test_reading_a_pipe_does_not_wait(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    script = f"""
    import sys
    import skvardict
    from skvardict.storage.files import DamagedFileError
    try:
        skvardict.load({str(tmp_path / "pipe")!r})
    except DamagedFileError as error:
        print(error)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, cwd=MODULE.parents[2], capture_output=True, text=True, timeout=120, check=True)
    assert "not a regular file" in done.stdout
