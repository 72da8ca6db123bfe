"""Keep the C allocator from keeping what large messages leave behind."""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # from malloc.h
_LARGE = 1024 * 1024


def limit_allocator() -> None:
    """Give large blocks back to the system when they are freed, and share two heaps among all threads.

    glibc makes up to eight heaps for each core and, after a first large block, keeps later ones. Other C libraries
    have no mallopt and need none of this.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 2)
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
        mallopt(_M_TRIM_THRESHOLD, _LARGE)
