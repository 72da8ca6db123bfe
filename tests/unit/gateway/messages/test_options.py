"""What a caller may ask for, and what is said when it cannot be."""

import pytest

from services.core.errors import InvalidInputError
from services.gateway.messages.options import DEFAULTS, Options


def test_nothing_asked_is_the_defaults_themselves():
    assert Options.from_query({}) is DEFAULTS


def test_everything_may_be_asked():
    query = {"preprocess": "mnist", "denoise": "auto", "include": "probabilities,input", "top_k": "3"}

    assert Options.from_query(query) == Options(
        preprocess="mnist", denoise="auto", include=frozenset({"probabilities", "input"}), top_k=3
    )


def test_later_wishes_win_over_earlier_ones():
    options = DEFAULTS.updated({"denoise": "never", "top_k": 2}).updated({"denoise": "auto"})

    assert options == Options(denoise="auto", top_k=2)


@pytest.mark.parametrize(
    ("value", "included"),
    [
        ("", set()),
        ([], set()),
        ("input", {"input"}),
        (["input"], {"input"}),
        ("input,", {"input"}),
        ("denoised,input,input", {"input", "denoised"}),
        ("denoised, input", {"input", "denoised"}),
    ],
)
def test_include_is_a_list_or_names_with_commas(value, included):
    assert DEFAULTS.updated({"include": value}).include == included


@pytest.mark.parametrize("value", ["10", 10, "0", 0])
def test_top_k_reaches_from_none_to_every_digit(value):
    assert DEFAULTS.updated({"top_k": value}).top_k == int(value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"preprocess": "auto "}, "preprocess=auto : it is one of auto, mnist, none"),
        ({"preprocess": 1}, "preprocess=1"),
        ({"denoise": "sometimes"}, "denoise=sometimes: it is one of always, never, auto"),
        ({"denoise": None}, "denoise=None"),
        ({"include": "all"}, "include=all: it is a list of probabilities, denoised, input"),
        ({"include": [["input"]]}, "include="),
        ({"include": {"input": 1}}, "include="),
        ({"top_k": "11"}, "top_k=11: it is a number from 0 to 10"),
        ({"top_k": "-1"}, "top_k=-1"),
        ({"top_k": "²"}, "top_k=²"),
        ({"top_k": ""}, "top_k=: "),
        ({"top_k": 2.0}, "top_k=2.0"),
        ({"top_k": True}, "top_k=True"),
        ({"top_k": "9" * 5000}, r"top_k=9{40}\.\.\.:"),
        ({"topk": "1"}, "no option is called topk; there are preprocess, denoise, include, top_k"),
    ],
)
def test_what_cannot_be_is_named(given, message):
    with pytest.raises(InvalidInputError, match=message):
        DEFAULTS.updated(given)
