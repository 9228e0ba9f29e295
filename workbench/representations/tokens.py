"""Token view: where in one answer the activations turn away, at each block, and where the breaker trips."""

import streamlit as st

from engine.figures.blocks import token_figure
from engine.figures.labels import token_name
from engine.records.captures.capture import Capture, CapturedPrompt, checkpoint_name
from engine.records.captures.projections import TokenRequest, read_token_view, token_file
from engine.records.captures.tables import token_table, trip_token
from engine.records.runs import open_run
from workbench.kit.blur import blurred, harmful_text, reveal_button
from workbench.kit.charts import on_screen
from workbench.kit.downloads import file_buttons, picture_config
from workbench.kit.state import settings
from workbench.kit.waiting import awaited
from workbench.kit.words import plain
from workbench.representations.capture import captured_steps
from workbench.representations.choices import Between, choose_step, lasting

PROMPT = "prompt"
THRESHOLD = "threshold"


def tokens_view(capture: Capture) -> None:
    if not capture.steps:
        st.info(
            "The token view compares base and circuit-broken activations: capture a run at one of its steps.",
            icon=":material/scatter_plot:",
        )
        return
    kept = captured_steps(open_run(settings().runs, capture.index.run_id))
    steps = [step for step in capture.steps if step in kept]
    if not steps:
        st.info(
            "The adapters of the captured steps are no longer kept, so both models cannot read an answer together: "
            "capture the run's last step above.",
            icon=":material/scatter_plot:",
        )
        return
    prompt, step, threshold = _choices(capture, steps)
    request = TokenRequest(
        run_id=capture.index.run_id,
        key=capture.index.key,
        digest=capture.index.digest,
        prompt_id=prompt.id,
        checkpoint=checkpoint_name(step),
    )
    file = token_file(capture, request)
    hidden = _prompt(prompt)
    if not awaited(
        "tokens",
        request.model_dump(mode="json"),
        what="Both models read this answer",
        ready=lambda: read_token_view(file) is not None,
        place="tokens",
    ):
        return
    view = read_token_view(file)
    assert view is not None
    trip = trip_token(view, capture.index.targets, threshold)
    targets = [block for block in capture.index.targets if block in view.blocks]
    judged = f"target block{'s' * (len(targets) > 1)} {', '.join(map(str, targets))}" if targets else "captured blocks"
    if trip is None:
        st.markdown(f":material/remove: The breaker does not trip: the cosine at {judged} stays above {threshold:.2f}.")
    else:
        st.markdown(
            f":material/bolt: **The breaker trips at {token_name(trip, answer_start=view.response_start)}**: there the "
            f"mean cosine at {judged} falls below {threshold:.2f}."
        )
    figure = token_figure(view, trip=trip, hidden=hidden, targets=targets)
    name = f"tokens-{prompt.id}-step-{step}"
    st.plotly_chart(
        on_screen(figure), key="chart_tokens", config=picture_config(name), alt="Cosine and norm by token and block"
    )
    file_buttons(figure, token_table(view), file=name)


def _choices(capture: Capture, steps: list[int]) -> tuple[CapturedPrompt, int, float]:
    prompts = {prompt.id: prompt for prompt in capture.index.prompts}
    which, when, where = st.columns([1.6, 1.2, 1], gap="large", vertical_alignment="bottom")
    with which, lasting(PROMPT, prompts.keys()):
        chosen = st.selectbox(
            "Prompt",
            list(prompts),
            key=PROMPT,
            bind="query-params",
            help="Prompts of this capture by id; type to search. " + _sides(capture),
        )
    with when:
        help_text = "The step whose activations are compared with the base model's; those whose adapter is kept."
        step = choose_step(steps, help_text=help_text)
    low, high = -0.5, 1.0
    with where, lasting(THRESHOLD, Between(low, high)):
        threshold = st.slider(
            "Trips below cosine",
            low,
            high,
            0.5,
            0.05,
            key=THRESHOLD,
            bind="query-params",
            help="Mean of target blocks.",
        )
    return prompts[chosen], step, float(threshold)


def _prompt(prompt: CapturedPrompt) -> bool:
    """The prompt's text. Returns whether its answer is hidden too."""
    name = f"token_{prompt.id}"
    with st.container(horizontal=True, vertical_alignment="center"):
        facts = [prompt.group, prompt.category, prompt.style, f"{prompt.response_tokens} answer tokens"]
        st.caption(plain(" · ".join(fact for fact in facts if fact)), width="content")
        hidden = prompt.label == "harmful" and reveal_button(name, of=prompt.text, what="prompt and tokens")
    with blurred(name, hidden=hidden):
        harmful_text(prompt.text, hidden=hidden)
    if hidden:
        st.caption("While the text is blurred the axis shows token numbers instead of words.")
    return hidden


def _sides(capture: Capture) -> str:
    counts = {group: sum(prompt.group == group for prompt in capture.index.prompts) for group in ("harmful", "benign")}
    return ", ".join(f"{count} {group}" for group, count in counts.items()) + "."
