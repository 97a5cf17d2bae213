"""How numbers are written."""

import math

import pytest

from lesionlens.config.evaluation import EvaluationConfig, Method, Policy
from lesionlens.config.training import Backbone, Normalise
from lesionlens.reporting import formatting
from lesionlens.reporting.formatting import (
    counted,
    duration,
    interval,
    joined,
    number,
    p_value,
    proportion,
    term,
    with_interval,
)


@pytest.mark.parametrize(
    ("value", "digits", "signed", "text"),
    [
        (0.784, 2, False, "0.78"),
        (None, 2, False, "–"),
        (math.nan, 2, False, "–"),
        (math.inf, 2, False, "–"),
        (-0.125, 3, True, "−0.125"),
        (0.04, 2, True, "+0.04"),
        (-0.001, 2, True, "0.00"),
    ],
)
def test_number(value, digits, signed, text):
    assert number(value, digits, signed) == text


def test_interval():
    assert interval(0.1, 0.25) == "0.10–0.25"
    assert interval(-0.1, 0.25) == "−0.10 to 0.25"
    assert interval(None, 0.25) == ""
    assert with_interval(0.2, -0.1, 0.25) == "0.20 (−0.10 to 0.25)" and with_interval(0.2, None, None) == "0.20"
    assert proportion(0.424, 0.33, 0.508) == "42\u00a0%\u00a0(33–51\u00a0%)" and proportion(0.424) == "42\u00a0%"


def test_words():
    assert counted(1, "patient", "patients") == "1 patient"
    assert counted(10237, "row", "rows") == "10\u202f237 rows"
    assert joined(["a", "b", "c"]) == "a, b and c"
    assert [duration(s) for s in (2.25, 48, 200, 7500, None)] == ["2.2 s", "48 s", "3 min 20 s", "2 h 5 min", "–"]
    assert [p_value(p) for p in (0.0001, 0.004, 0.04)] == ["p < 0.001", "p = 0.004", "p = 0.04"]


@pytest.mark.parametrize(
    ("codes", "terms"),
    [
        (Backbone.__args__, formatting.BACKBONES),
        (Method.__args__, formatting.METHODS),
        (Policy.__args__, formatting.POLICIES),
        (Normalise.__args__, formatting.NORMALISATIONS),
    ],
)
def test_every_choice_has_a_term(codes, terms):
    assert set(codes) <= set(terms)
    assert EvaluationConfig().policy in formatting.POLICIES


def test_unknown_code_is_shown_without_underscores():
    assert term("new_thing", formatting.METHODS) == "new thing"
