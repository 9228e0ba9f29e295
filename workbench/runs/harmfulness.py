"""The harmfulness probes of a run on its page: what was fitted, and a button that fits them. Knows records and the
queue."""

import streamlit as st

from engine.records.errors import WorkbenchError
from engine.records.evaluation.counts import SIDE_NAMES, SIDES
from engine.records.harmfulness import KINDS, TITLES, HarmfulnessProbes, need_probes, read_probes
from engine.records.runs import ACTIVE, Run
from workbench.kit.state import settings
from workbench.kit.waiting import awaited
from workbench.kit.words import duration, plain

_ASKED = "asked_probes"


def harmfulness_part(run: Run) -> None:
    """Nothing for a run without an adapter."""
    if not (run.adapter_folder / "adapter_config.json").is_file():
        return
    st.markdown("**Harmfulness probe**")
    try:
        found = read_probes(run, settings())
    except WorkbenchError as error:
        st.warning(plain(str(error)), icon=":material/warning:")
        found = None
    if found is not None and found.step == run.record().step:
        st.session_state.get(_ASKED, set()).discard(run.id)
        st.table(_figures(found))
        st.caption(plain(_about(found)))
        return
    if run.record().status in ACTIVE:
        st.caption("Can be fitted once the training has ended: until then its weights move.")
        return
    asked = st.session_state.setdefault(_ASKED, set())
    if run.id in asked:
        awaited(
            "fit_probe",
            {"run": run.id},
            what="Harmfulness probes",
            ready=lambda: _is_fitted(run),
            place=f"fit_probe_{run.id}",
            leave=lambda: asked.discard(run.id),
            seconds=1.0,
        )
        return
    st.caption("Reads each token of an answer and ends the answer where it finds harm: in Side by side and Evaluate.")
    if st.button("Fit it", key="fit_probe", icon=":material/front_hand:", help="A minute or two for a small model."):
        asked.add(run.id)
        st.rerun()


def _is_fitted(run: Run) -> bool:
    try:
        need_probes(run, settings(), None)
    except WorkbenchError:
        return False
    return True


def _figures(found: HarmfulnessProbes) -> dict[str, list[str]]:
    rows = [(side, kind, found.probes[side][kind]) for side in SIDES for kind in KINDS]
    return {
        "Model": [SIDE_NAMES[side] for side, _, _ in rows],
        "Probe": [TITLES[kind] for _, kind, _ in rows],
        "Token AUC": [f"{one.auc:.3f}" for _, _, one in rows],
        "Harmful answers ended": [f"{one.caught(found.false_alarms):.0%}" for _, _, one in rows],
    }


def _about(found: HarmfulnessProbes) -> str:
    one, rate = found.probes["base"]["linear"], f"{100 * found.false_alarms:g} %"
    trained = ", ".join(f"{count} {name}" for name, count in found.rows.items())
    return (
        f"Block {found.block}, step {found.step}. Validation split: n = {len(one.harmful)} harmful and "
        f"{len(one.borderline)} borderline answers, of which at most {rate} may be ended: that sets "
        f"the thresholds. Fitted on the answers to {trained} requests in {duration(found.seconds)}."
    )
