"""Which form of answer a client gets."""

import pytest

from services.gateway.api.answers import takes_npy


@pytest.mark.parametrize(
    ("accept", "npy"),
    [
        (None, False),
        ("*/*", False),
        ("application/json", False),
        ("application/x-npy", True),
        ("application/x-npy, */*", True),
        ("application/json;q=0.5, application/x-npy", True),
        ("application/json, application/x-npy, application/problem+json", False),  # all that openapi.yaml names
        ("application/x-npy, application/json", False),
        ("application/json,application/x-npy;q=0.9", False),
        ("application/x-npy;q=0, */*", False),
    ],
)
def test_an_array_is_for_those_who_would_rather_have_it_than_json(accept, npy):
    assert takes_npy(accept) is npy
