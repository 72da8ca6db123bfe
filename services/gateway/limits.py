"""How much one request may hold. Checked where a body is read, before anything large is made of it."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from services.core.budget import Budget


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The most that one request may hold; the defaults suit a small machine."""

    max_body_bytes: int = 32 * 1024 * 1024  # also after gzip is undone
    max_images: int = 20_000
    max_lines: int = 1_000
    max_pixels: int = 25_000_000  # of one encoded image: 5000 x 5000
    max_request_pixels: int = 50_000_000  # of all encoded images of a request together: two photos of 25 megapixels
    max_decoded_bytes: int = 160_000_000  # that decoders may take for them
    max_answer_bytes: int = 32 * 1024 * 1024  # of an answer, before gzip
    max_json_depth: int = 8

    def budget(self, until_s: float = math.inf, alone: Callable[[], object] = lambda: None) -> Budget:
        """What the pictures of one request may cost together, until a moment on the monotonic clock."""
        return Budget(
            pixels=self.max_request_pixels, decoded_bytes=self.max_decoded_bytes, until_s=until_s, alone=alone
        )
