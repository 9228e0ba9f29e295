"""What to do with a run that has something to look at: look, ask, evaluate, share."""

from functools import partial
from urllib.parse import urlsplit

import streamlit as st

from engine.exports.bundle.write import bundle_html
from engine.exports.notebook.write import VIEWS, notebook_text
from engine.records.checkpoints import Checkpoint, run_checkpoints
from engine.records.runs import ACTIVE, Run
from workbench.kit.downloads import file_button, spec_button
from workbench.kit.frame import caught, places
from workbench.kit.state import RUN, settings


def next_steps(run: Run, status: str) -> None:
    """Nothing where the run has kept nothing."""
    kept = (run.adapter_folder / "adapter_config.json").is_file()
    if status in ACTIVE:
        checkpoints = run_checkpoints(run)
        if any(checkpoint.step is not None for checkpoint in checkpoints):
            with st.container(horizontal=True, vertical_alignment="center", key="next_steps"):
                _look(run, "As it stands at the steps captured so far.")
                at = "at its last checkpoint" if checkpoints[-1].step is not None else "now, while it trains on"
                _ask(checkpoints[-1], f"Asks the model as it stands {at}.")
        return
    if not kept:
        if checkpoints := [one for one in run_checkpoints(run) if one.step is not None]:
            with st.container(horizontal=True, vertical_alignment="center", key="next_steps"):
                _look(run, "As it stands at the steps captured so far.")
                _ask(checkpoints[-1], "Asks its last checkpoint. Its adapter is written when the run goes on and ends.")
        return
    with st.container(horizontal=True, vertical_alignment="center", key="next_steps"):
        _look(run, "How harmful and benign activations moved: maps, arrows, tokens.")
        _ask(Checkpoint(run.id), "Prompt the base and the circuit-broken model side by side.")
        st.page_link(
            places()["evaluate"],
            label="Evaluate",
            icon=":material/shield_question:",
            query_params={RUN: run.id},
            help="Attack it, and measure what it still answers.",
        )
        with st.popover("Share", icon=":material/share:", key="share"), caught():
            _share(run, status)


def _look(run: Run, help_text: str) -> None:
    st.page_link(
        places()["representations"],
        label="Look",
        icon=":material/scatter_plot:",
        query_params={RUN: run.id},
        help=help_text,
    )


def _ask(checkpoint: Checkpoint, help_text: str) -> None:
    st.page_link(
        places()["side_by_side"],
        label="Ask",
        icon=":material/compare_arrows:",
        query_params={RUN: str(checkpoint)},
        help=help_text,
    )


def _share(run: Run, status: str) -> None:
    st.markdown("**Copy link**")
    st.caption("For whoever can open this workbench.")
    st.code(link_to(run), language=None, wrap_lines=True)
    _replay(run)
    _notebooks(run)
    st.markdown("**A copy of the run**")
    if status == "finished":
        st.caption(
            "Curves, adapter, activations and evaluations in FOLDER, without answers to harmful prompts; "
            "it opens in any workbench."
        )
        st.code(f"python -m engine pack {run.id} FOLDER", language="bash", wrap_lines=True)
    else:
        st.caption("A run that was stopped cannot be packed: resume it and let it finish.")
    st.markdown("**The adapter alone**")
    st.caption("A plain PEFT folder with a model card, ready for a hub; `--merged` or `--gguf` adds the whole model.")
    st.code(f"python -m engine export {run.id} FOLDER", language="bash", wrap_lines=True)
    spec = run.spec()
    spec_button(
        spec,
        key="share_spec",
        label="Download the spec",
        help_text="Trains the same run elsewhere: python -m engine train SPEC.json",
    )


def _replay(run: Run) -> None:
    """The run as one file; it is made when the button is pressed."""
    st.markdown("**A replay**")
    st.caption("One HTML file that opens from disk without a network and plays the run: curves, map, answers, attacks.")
    with_harmful = st.toggle(
        "With harmful text",
        key="replay_with_harmful",
        help="Harmful requests and the answers to them, hidden until whoever opens the file reveals them.",
    )
    here = settings()
    file_button(
        "Download the replay",
        lambda: bundle_html(run, here, harmful_text=with_harmful),
        f"replay-{run.id}.html",
        "text/html",
    )


def _notebooks(run: Run) -> None:
    st.markdown("**Notebooks**")
    st.caption("Each reads this run's files with public functions and draws the same figures.")
    with st.container(horizontal=True, gap="small"):
        for view in VIEWS:
            file_button(
                view.capitalize(),
                partial(notebook_text, run, view),
                f"{view}-{run.id}.ipynb",
                "application/x-ipynb+json",
            )


def link_to(run: Run) -> str:
    """The address of the run's page, as this browser reaches the workbench."""
    here = urlsplit(st.context.url or "")
    return f"{here.scheme}://{here.netloc}{here.path}?{RUN}={run.id}" if here.netloc else f"/runs?{RUN}={run.id}"
