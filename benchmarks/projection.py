"""Maps of 5,000 prompts with 576 dimensions, in a process with one thread, as the worker makes them."""

import time

import numpy as np

from benchmarks.rows import Row
from engine.child import end_child, in_child
from engine.compute.geometry.projection import project
from engine.compute.geometry.separation import Groups
from engine.compute.steps import drained
from engine.records.captures.projections import Method

COUNT, WIDTH = 5000, 576


def measure(repeats: int) -> list[Row]:
    started = time.perf_counter()
    _wait(in_child("engine.child.warm", phase="warming", message=""))
    rows = [Row("projection: loading the libraries, once", {"seconds": time.perf_counter() - started})]
    _wait(in_child("benchmarks.projection.timed", "umap", 200, phase="projecting", message=""))
    for method in ("pca", "difference", "umap"):
        seconds = min(
            _wait(in_child("benchmarks.projection.timed", method, COUNT, phase="projecting", message=""))
            for _ in range(1 if method == "umap" else repeats)
        )
        figures = {"seconds": seconds}
        if method == "umap":
            plain = _wait(in_child("benchmarks.projection.plain_umap", COUNT, phase="projecting", message=""))
            rows.append(Row("projection: plain umap-learn of the same, without figures", {"seconds": plain}))
            figures["times as fast"] = plain / seconds
        name = f"projection: {method} of {COUNT} x {WIDTH}, base and one checkpoint, figures included"
        rows.append(Row(name, figures))
    end_child()
    return rows


def timed(method: Method, count: int) -> float:
    """Seconds of one map; in the child."""
    base, harmful = _activations(count)
    groups = Groups(harmful, ~harmful, np.arange(count) > 0.8 * count)
    started = time.perf_counter()
    project({"base": base, "step-000010": base + 0.1}, groups, method=method, dimensions=2, seed=0)
    return time.perf_counter() - started


def plain_umap(count: int) -> float:
    """Seconds of umap-learn with its usual settings on both checkpoints; in the child."""
    from umap import UMAP

    base, _ = _activations(count)
    started = time.perf_counter()
    UMAP(random_state=0).fit_transform(np.concatenate([base, base + 0.1]))
    return time.perf_counter() - started


def _activations(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Activations, and which of them are harmful."""
    base = np.random.default_rng(0).normal(size=(count, WIDTH)).astype(np.float32)
    harmful = np.arange(count) < count // 2
    base[harmful, :5] += 1
    return base, harmful


def _wait(steps):
    return drained(steps, lambda _: time.sleep(0.01))
