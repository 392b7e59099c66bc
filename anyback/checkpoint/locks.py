"""Locks on open files, which end with the process that holds them."""

from __future__ import annotations

import errno
import os
import sys

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["lock"]

_TAKEN = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
# Windows locks bytes, which others then cannot read: one far behind all that is written.
_BYTE = 1 << 30


def lock(descriptor: int) -> bool:
    """Lock an open file until it is closed, and return whether it was free.

    Raises
    ------
    OSError
        If the file system has no locks.
    """
    try:
        if sys.platform == "win32":
            position = os.lseek(descriptor, 0, os.SEEK_CUR)
            os.lseek(descriptor, _BYTE, os.SEEK_SET)
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            finally:
                os.lseek(descriptor, position, os.SEEK_SET)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        raise
    return True
