"""How well the surface of requests tells two sides apart, whatever they mean. No fixtures: any test may import it."""

import re
from collections.abc import Iterable

import numpy
import pytest


def told_apart(harmful: Iterable[tuple[str, str]], benign: Iterable[tuple[str, str]]) -> float:
    """Area under the curve of a logistic regression on length, punctuation, capitals, digits and the first word; each
    side as pairs of a group, which is held out whole, and a text."""
    pytest.importorskip("sklearn")
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MaxAbsScaler

    sides = list(harmful), list(benign)
    labels = numpy.array([True] * len(sides[0]) + [False] * len(sides[1]))
    groups, texts = zip(*sides[0], *sides[1], strict=True)
    model = make_pipeline(DictVectorizer(), MaxAbsScaler(), LogisticRegression(max_iter=2000, class_weight="balanced"))
    seen = [_surface(text) for text in texts]
    scores = cross_val_predict(model, seen, labels, groups=groups, cv=GroupKFold(5), method="predict_proba")
    return float(roc_auc_score(labels, scores[:, 1]))


def words_of(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.lower())


def _surface(text: str) -> dict[str, float | bool]:
    words = text.split()
    marks = {mark: float(text.count(mark)) for mark in ".,?!:;'\"-"}
    return {
        **marks,
        "words": float(numpy.log(len(words))),
        "letters a word": len(text) / len(words),
        "capitals": sum(word[0].isupper() for word in words) / len(words),
        "begins small": text[0].islower(),
        "digits": bool(re.search(r"\d", text)),
        f"ends {text[-1] if not text[-1].isalnum() else ''}": True,
        f"first {words_of(text)[0]}": True,
    }
