"""The figures at the top of a run's page, each with the split that made it, and what has to be said about the run."""

from collections.abc import Sequence

import streamlit as st

from engine.figures.labels import amount, figure
from engine.records.cluster_jobs import is_on_cluster
from engine.records.events import Alert, HeldoutResult
from engine.records.runs import Record, Run
from workbench.kit.records import known_record
from workbench.kit.state import queue
from workbench.kit.words import duration, moment, plain
from workbench.runs.follow import Followed
from workbench.runs.times import WHOLE, meaning, run_times

SPLITS = (
    "The test split is measured when training has ended, at the strength that the run acts at. The curve shows the "
    "validation split, measured while it trains, at strength 1. They are different prompts, and neither is trained on: "
    "their figures need not agree."
)
# What the figures are means over.
ANSWERS, EVERY = "answer tokens", "all tokens"
# Below it harmful activations have turned, whatever an alert said before.
TURNED = 0.9


def about(run: Run, record: Record) -> str:
    """The small print: what is needed to find the run again."""
    parts = [run.id, record.preset, run.spec().model.name, record.device, moment(record.created)]
    if record.trained_parameters:
        parts.append(f"{amount(record.trained_parameters)} parameters trained")
    return " · ".join(part for part in parts if part)


def header_figures(run: Run, record: Record, status: str, followed: Followed) -> None:
    """Nothing before anything was measured: the stages say where the run is."""
    if followed.tables.steps.empty and not record.figures:
        return
    test, validation = followed.heldout("test"), followed.heldout("validation")
    steps = followed.tables.steps
    last = steps.iloc[-1] if len(steps) else None
    with st.container(horizontal=True, gap="small", key="header_figures"):
        _heldout("Held-out cosine", "cosine", "harmful", ANSWERS, record, test, validation,
                 "Harmful prompts, mean over their answer tokens and over target blocks; 1: nothing moved, 0: turned "
                 "away.")  # fmt: skip
        _heldout("Held-out drift", "drift", "benign", EVERY, record, test, validation,
                 "Benign prompts, over all tokens but the first, as a share of the block's mean norm; 0: nothing "
                 "moved.")  # fmt: skip
        _heldout("Borderline drift", "borderline_drift", "", EVERY, record, test, validation,
                 "Benign prompts that sound harmful, over all tokens but the first, as a share of the block's mean "
                 "norm.")  # fmt: skip
        for label, value in (
            ("Rerouting loss", figure(last["reroute_loss"] if last is not None else None)),
            ("Retain loss", figure(last["retain_loss"] if last is not None else None)),
            ("Tokens/s", f"{steps['tokens_per_second'].tail(10).mean():.0f}" if last is not None else "–"),
        ):
            with st.container(width=108):
                st.metric(
                    label,
                    value,
                    help="Of the last step." if "loss" in label else "Tokens a second, mean of the last ten steps.",
                )
        times = run_times(record, status, changed=known_record(run).changed)
        with st.container(width=132):
            st.metric(WHOLE, duration(times.whole), help=meaning(times))


def _heldout(
    label: str,
    name: str,
    side: str,
    tokens: str,
    record: Record,
    test: HeldoutResult | None,
    validation: HeldoutResult | None,
    help_text: str,
) -> None:
    """One figure of the test split with the validation split's beside it; before the test, that of validation."""
    final, current = record.figures.get(f"heldout_{name}"), record.figures.get(f"validation_{name}")
    with st.container(width=165, gap=None):
        st.metric(label, figure(current if final is None else final), help=f"{help_text} {SPLITS}")
        said = split_words(final, current, side, test, validation)
        measured = [f"over {tokens}"] if final is not None or current is not None else []
        st.caption("  \n".join(said + measured))


def split_words(
    final: float | None,
    current: float | None,
    side: str,
    test: HeldoutResult | None,
    validation: HeldoutResult | None,
) -> list[str]:
    """Which split made a figure: 'test split, n = 88 harmful', and 'validation 0.106, n = 85' where both are known."""
    if final is None and current is None:
        return ["not measured yet"]
    if final is None:
        at = f", at step {validation.step}" if validation else ""
        return [f"validation split{_rows(validation, side)}{at}"]
    words = [f"test split{_rows(test, side)}"]
    if current is not None:
        words.append(f"validation {figure(current)}{_rows(validation, side, short=True)}")
    return words


def _rows(result: HeldoutResult | None, side: str, *, short: bool = False) -> str:
    if result is None or not side:
        return ""
    rows = result.harmful_rows if side == "harmful" else result.benign_rows
    return f", n = {rows}" + ("" if short else f" {side}")


def messages(run: Run, record: Record, status: str, followed: Followed) -> None:
    """What went wrong or has to be known. A run that went well has no sign of warning."""
    if status == "failed":
        st.error(plain(record.error or "The run failed; the log says where."), icon=":material/error:")
    elif status == "stopped" and record.error:
        st.info(plain(record.error), icon=":material/delete:")
    elif status == "interrupted":
        # What says no more than that the worker ended says not what to do.
        reason = record.error if "resume" in record.error.lower() else ""
        st.warning(
            plain(reason)
            or "The worker ended while this run was going. Resume it: it goes on exactly from its last checkpoint.",
            icon=":material/power_off:",
        )
    elif status == "queued" and not is_on_cluster(run) and not queue().worker().alive:
        st.warning("The worker is not running: start it in the sidebar.", icon=":material/power_off:")
    newest = followed.heldout()
    holding = standing(followed.alerts, newest)
    for alert in holding[-3:]:
        st.warning(
            plain(f"Step {alert.step}: {alert.message} {alert.advice}"), icon=":material/notification_important:"
        )
    past = [alert for alert in followed.alerts if alert not in holding]
    if past and newest is not None:
        st.caption(
            plain(
                f"The cosine did not fall at first (noted at step {past[0].step}); it has since: "
                f"{newest.mean_cosine:.3f} on the {newest.split} split after step {newest.step}."
            )
        )


def standing(alerts: Sequence[Alert], newest: HeldoutResult | None) -> list[Alert]:
    """Alerts that still hold: that the cosine does not fall is over when a later measurement shows that it fell."""
    fell = newest is not None and newest.mean_cosine < TURNED
    return [
        alert
        for alert in alerts
        if not (fell and newest is not None and newest.step >= alert.step and "cosine does not fall" in alert.message)
    ]
