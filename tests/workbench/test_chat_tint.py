"""Tinted answers: what is marked, what hover says, and that a model's text stays text."""

import re

import pytest

from workbench.chat.tint import TintedToken, first_below, legend, tinted


def test_the_first_token_below_the_threshold_is_marked_and_no_other():
    html = tinted([TintedToken(t, c) for t, c in (("a", 0.9), ("b", 0.4), ("c", 0.1))], threshold=0.5)
    assert re.findall(r"class='trips'[^>]*>(.)<", html) == ["b"]
    assert "answer token 2: cosine 0.40, the first below the threshold" in html


@pytest.mark.parametrize(("cosines", "expected"), [([0.9, 0.8], None), ([0.4], 0), ([0.5, 0.49], 1), ([], None)])
def test_below_means_below(cosines, expected):
    assert first_below(cosines, 0.5) == expected


def test_the_ground_is_the_stronger_the_lower_the_cosine_and_stays_in_range():
    html = tinted([TintedToken(str(c), c) for c in (1.2, 1.0, 0.5, 0.0, -0.7)])
    strengths = [float(text) for text in re.findall(r"rgba\(\d+,\d+,\d+,([\d.]+)\)", html)]
    assert strengths[0] == strengths[1] == 0 and strengths == sorted(strengths)
    assert strengths[3] == strengths[4] > strengths[2] > 0


def test_text_is_never_markup():
    html = tinted([TintedToken("<img src=x onerror=alert(1)>"), TintedToken("'&\"", 0.2, prefill=True)])
    assert "<img" not in html and "&lt;img" in html and "&#x27;&amp;&quot;" in html


def test_unmeasured_tokens_are_plain_and_words_put_in_the_mouth_are_underlined():
    html = tinted([TintedToken("Sure", prefill=True), TintedToken(" thing")], threshold=0.5, going=True)
    assert html == (
        "<div class='answer live'><div><span class='said-for'>Sure</span> thing<span class='going'>▍</span></div></div>"
    )


def test_the_legend_names_the_threshold():
    assert "first below 0.35" in legend(0.35)
