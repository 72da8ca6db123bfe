"""What the large bodies of one worker process may hold in memory together, whichever protocol they come by."""

from services.core.errors import OverloadedError

SMALL_BODY_BYTES = 64 * 1024  # bodies up to here are always read: as many as there are connections
HELD_BODIES = 4  # of the largest size: larger ones may hold so much memory together


class HeldBodies:
    """Counts bytes of bodies above SMALL_BODY_BYTES, from their first byte to the request's answer."""

    def __init__(self, max_body_bytes: int) -> None:
        self._most = HELD_BODIES * max_body_bytes
        self._bytes = 0

    def take(self, more: int) -> OverloadedError | None:
        """Count so many bytes; an error, and nothing counted, where too much is held already."""
        if self._bytes + more > self._most:
            return OverloadedError(f"bodies of {self._bytes} bytes are being read already", retry_after_s=1.0)
        self._bytes += more
        return None

    def give_back(self, held: int) -> None:
        """They are not in memory any more."""
        self._bytes -= held
