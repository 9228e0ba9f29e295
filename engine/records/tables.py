"""Events as columns for charts and comparisons. Knows nothing of figures or files."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from engine.records.events import AnyEvent, HeldoutResult, ProbeResult, StepResult
from engine.records.spec import RunSpec, flat


class RunTables(NamedTuple):
    """steps: one row an optimizer step. heldout: one row a measurement and block. probes: in order of steps."""

    steps: pd.DataFrame
    heldout: pd.DataFrame
    probes: list[ProbeResult]


def run_tables(events: Iterable[AnyEvent]) -> RunTables:
    steps: list[StepResult] = []
    heldout: list[dict] = []
    probes: list[ProbeResult] = []
    for event in events:
        if isinstance(event, StepResult):
            steps.append(event)
        elif isinstance(event, HeldoutResult):
            heldout += _heldout_rows(event)
        elif isinstance(event, ProbeResult):
            probes.append(event)
    names = ["time", *(name for name in StepResult.model_fields if name not in ("time", "kind"))]
    # By columns of numbers: pandas would look at each of 100,000 values to learn what they are.
    fields = [vars(step) for step in steps]
    table = pd.DataFrame({name: np.array([field[name] for field in fields]) for name in names}, columns=names)
    table["tokens_per_second"] = table["tokens"] / table["seconds"].clip(lower=1e-9)
    columns = [
        "step",
        "split",
        "block",
        "cosine",
        "raw_cosine",
        "benign_cosine",
        "drift",
        "harmful_rows",
        "benign_rows",
    ]
    return RunTables(table, pd.DataFrame(heldout, columns=columns), probes)


def spec_differences(specs: Sequence[RunSpec]) -> pd.DataFrame:
    """One row for each field whose value is not the same in all specs; one column a spec, numbered from 0."""
    fields = [flat(spec) for spec in specs]
    names = [name for name in fields[0] if len({repr(one[name]) for one in fields}) > 1]
    return pd.DataFrame(
        {
            # A cell holds no list.
            index: [str(one[name]) if isinstance(one[name], list) else one[name] for name in names]
            for index, one in enumerate(fields)
        },
        index=pd.Index(names, name="field"),
        # A whole number stays one beside a share.
        dtype=object,
    )


def content_differences(sources: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    """One row for each file that held something else when the runs were made, by the beginning of its digest; one
    column a run, numbered from 0. sources: of each run, as its record has them."""
    names = sorted(
        {name for one in sources for name in one if len({other.get(name, "") for other in sources} - {""}) > 1}
    )
    return pd.DataFrame(
        {index: [one.get(name, "")[:8] for name in names] for index, one in enumerate(sources)},
        index=pd.Index([f"content of {name}" for name in names], name="field"),
        dtype=object,
    )


def _heldout_rows(event: HeldoutResult) -> list[dict]:
    blocks = sorted({*event.cosine, *event.drift}, key=int)
    return [
        {
            "step": event.step,
            "split": event.split,
            "block": int(block),
            "cosine": event.cosine.get(block),
            "raw_cosine": event.raw_cosine.get(block),
            "benign_cosine": event.benign_cosine.get(block),
            "drift": event.drift.get(block),
            "harmful_rows": event.harmful_rows,
            "benign_rows": event.benign_rows,
        }
        for block in blocks
    ]
