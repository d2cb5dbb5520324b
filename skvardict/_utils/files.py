"""Files that come from elsewhere, opened so that nothing waits."""

import errno
import os
import stat
from typing import BinaryIO


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file for reading; what is no regular file is refused.

    A pipe would let the first read wait for somebody who writes into it, and some devices never end.

    Raises
    ------
    OSError
        If the file is missing, a folder, or may not be read.
    ValueError
        If it is a pipe, a socket or a device.
    """
    # Without waiting: to open a pipe is to wait for its other end. Of regular files the flag changes nothing.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    raise ValueError(f"{os.fspath(path)} is not a regular file, but a pipe or a device. Pass the path of a file.")
