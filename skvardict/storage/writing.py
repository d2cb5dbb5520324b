"""Files are written whole or not at all, whoever else writes to the same place.

A file is filled under a name that no other has, in the folder where it belongs, flushed to the disk, and then takes its
place in one step. No link is followed on the way; permissions of the file before it are kept. What a killed process
leaves unfinished is removed by the next one that writes there: while a process lives, it holds a lock on its file.
"""

import errno
import hashlib
import os
import platform
import re
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO
from uuid import getnode, uuid4

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_UNFINISHED = re.compile(r"\.skvardict-([0-9a-f]{16})-[0-9a-f]{32}\.tmp")
_SECONDS_UNTOUCHED = 86_400.0  # after which a file is left over, where locks say nothing: those of other machines
_SECONDS_OF_A_LOCK = 10.0  # that the few steps of another writer may take
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)

_looked_through: set[str] = set()  # folders, by this process


@contextmanager
def replacing(
    path: str | os.PathLike,
    *,
    new: bool = False,
    previous: str | os.PathLike | None = None,
    check: Callable[[], None] | None = None,
    durable: bool = True,
) -> Iterator[BinaryIO]:
    """Give a file to write to, which takes the place of `path` at the end of the block; an error leaves all as it was.

    A link at `path` is replaced, and what it names stays. The new file has the permissions of the old one, and its
    owner and group where that is allowed; where there is none, those that the umask leaves.

    Parameters
    ----------
    path : path
    new : bool, default=False
        Whether there must be no file at `path`: of several that write there at the same time, one succeeds.
    previous : path, optional
        Where the old file stays. `path` is there all the time, but for file systems without hard links.
    check : callable, optional
        Called before the old file is replaced, while no other writer replaces it; what it raises leaves all as it was.
    durable : bool, default=True
        Whether to wait until the file, and its name, would last through a loss of power.

    Raises
    ------
    OSError
        If the disk is full, the folder missing, `path` a folder, pipe or device, etc.
    FileExistsError
        If `new`, and there is a file.
    """
    path = Path(path)
    unfinished: Path | None = None
    try:
        old = _status_of_place(path)
        remove_left_over(path.parent)
        descriptor, unfinished = _create(path.parent, 0o666 if old is None else 0o600)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            if old is not None:
                _inherit(descriptor, old)
            if durable:
                os.fsync(descriptor)
            if fcntl is None:  # an open file cannot be renamed there, and no lock is lost
                file.close()
            with nullcontext() if fcntl is None else _locked(path):
                if check is not None:
                    check()
                _place(unfinished, path, new=new, previous=previous)
        if durable:
            _sync_folder(path.parent)
    except BaseException as error:
        if unfinished is not None:
            with suppress(OSError):
                unfinished.unlink()
        if isinstance(error, OSError) and error.errno is not None and not _names_another(error):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def _names_another(error: OSError) -> bool:
    """Return whether an error is about a file with a name that the caller knows."""
    return error.filename is not None and is_finished(Path(str(error.filename)))


def is_finished(path: Path) -> bool:
    """Return whether a file has its own name already."""
    return _UNFINISHED.fullmatch(path.name) is None


def _status_of_place(path: Path) -> os.stat_result | None:
    """Return the status of the file that is to be replaced; None where there is none.

    Raises
    ------
    OSError
        If something else is there, or what a link there names: a device would be lost.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "A pipe, socket or device is not replaced by a file", str(path))
    return status


def _create(folder: Path, mode: int) -> tuple[int, Path]:
    """Return a new file, open and locked, and its name."""
    while True:
        unfinished = folder / f".skvardict-{_machine()}-{uuid4().hex}.tmp"
        descriptor = os.open(unfinished, _NEW_FILE, mode)
        # Another process may have taken it as left over before it was locked.
        if _lock(descriptor) is not False and os.fstat(descriptor).st_nlink > 0:
            return descriptor, unfinished
        os.close(descriptor)


def _inherit(descriptor: int, old: os.stat_result) -> None:
    """Give a file owner, group and permissions of the one that it replaces, as far as that is allowed."""
    if not hasattr(os, "fchmod"):
        return
    mode, now = stat.S_IMODE(old.st_mode) & 0o777, os.fstat(descriptor)
    if (now.st_uid, now.st_gid) != (old.st_uid, old.st_gid) and not _chown(descriptor, old.st_uid, old.st_gid):
        # Of another group nobody said that it may read.
        mode = mode if _chown(descriptor, -1, old.st_gid) else mode & 0o707
    os.fchmod(descriptor, mode)


def _chown(descriptor: int, owner: int, group: int) -> bool:
    try:
        os.fchown(descriptor, owner, group)
    except OSError:
        return False
    return True


def _place(unfinished: Path, path: Path, *, new: bool, previous: str | os.PathLike | None) -> None:
    if new:
        _place_first(unfinished, path)
        return
    if previous is not None:
        _keep(path, previous)
    os.replace(unfinished, path)


def _place_first(unfinished: Path, path: Path) -> None:
    """Name a file `path`, if nothing has that name."""
    try:
        os.link(unfinished, path)
    except FileExistsError:
        raise
    except OSError as error:  # a file system without hard links: looking first leaves a moment for others
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from error
        os.replace(unfinished, path)
        return
    with suppress(FileNotFoundError):
        unfinished.unlink()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep other writers from replacing the file at `path`; where locks do not work, or one is stuck, do without."""
    descriptor, deadline = None, time.monotonic() + _SECONDS_OF_A_LOCK
    while time.monotonic() < deadline:
        descriptor = _open_to_lock(path)
        if descriptor is None:
            break
        is_mine = _lock(descriptor)
        if is_mine is not False and _is_at(path, descriptor):
            break
        os.close(descriptor)  # another holds it, or has just replaced the file
        descriptor = None
        time.sleep(0 if is_mine else 0.005)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _open_to_lock(path: Path) -> int | None:
    """Return a file to lock; None where there is none, or it may not be opened."""
    others = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    for access in (os.O_RDWR, os.O_RDONLY):  # network file systems lock only what may be written
        with suppress(OSError):
            return os.open(path, access | others)
    return None


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _keep(path: Path, previous: str | os.PathLike) -> None:
    """Let the file at `path` be found as `previous` too, if a file can have that name."""
    try:
        os.unlink(previous)
    except FileNotFoundError:
        pass
    except OSError:  # a folder, a name that is too long
        return
    try:
        os.link(path, previous)
    except (FileExistsError, FileNotFoundError):  # another process has just done the same, or there is no file
        pass
    except OSError:  # a file system without hard links
        os.replace(path, previous)


def _sync_folder(folder: Path) -> None:
    """Make new names in `folder` last through a loss of power, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    with suppress(OSError):  # some network file systems cannot, and a folder may be written but not read
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


# ------------------------------------------------------------------------------------------------------------ left over


def remove_left_over(folder: Path) -> None:
    """Remove what processes that are gone have left unfinished in `folder`; looked for once by every process."""
    name = os.path.abspath(folder)
    if name in _looked_through:
        return
    _looked_through.add(name)
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = _UNFINISHED.fullmatch(entry.name)
            if found is not None:
                with suppress(OSError):
                    _remove_if_left(entry.path, is_of_this_machine=found[1] == _machine())


def _remove_if_left(path: str, *, is_of_this_machine: bool) -> None:
    flags = os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, flags)
    try:
        status = os.fstat(descriptor)
        is_free = _lock(descriptor)
        is_old = time.time() - status.st_mtime > _SECONDS_UNTOUCHED
        if stat.S_ISREG(status.st_mode) and ((is_free and is_of_this_machine) or (is_old and is_free is not False)):
            os.unlink(path)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Lock a file until it is closed, or its process ends; False: another has locked it, None: no locks here."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


@cache
def _machine() -> str:
    """Return what tells this machine, since it was started, from others."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        text = f"{platform.node()} {getnode()}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]
