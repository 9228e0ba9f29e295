"""Watch an attack on pixels (?attack=ID): losses, pictures, answers as they come; stop it, keep what it made."""

import time
from functools import lru_cache

import streamlit as st

from engine.figures.pixel_attack import pixel_losses
from engine.records.conversation import Picture
from engine.records.errors import DataError
from engine.records.kept_pictures import keep_picture
from engine.records.model_place import without_folder
from engine.records.picture_attacks import (
    AttackFolder,
    PictureAttack,
    PixelAnswers,
    PixelCourse,
    PixelSaved,
    open_attack,
)
from engine.records.pictures import image_of, picture_at
from workbench.chat.columns import column_names
from workbench.kit.blur import blurred, harmful_text, reveal_button
from workbench.kit.charts import on_screen
from workbench.kit.doing import doing_words
from workbench.kit.downloads import file_button, picture_config
from workbench.kit.frame import catching
from workbench.kit.pictures import harmful_picture, written
from workbench.kit.state import ATTACK, queue, settings
from workbench.kit.waiting import progress_words
from workbench.kit.words import duration, plain
from workbench.pictures.attack_form import attack_form
from workbench.pictures.choice import choose
from workbench.pictures.difference import difference_png, difference_scale

TICK = 0.7
EDGE = 260
ENDS = {"done": "All steps were done", "stopped": "Stopped", "failed": "It failed"}


def attack_view() -> None:
    if name := st.query_params.get(ATTACK):
        st.button("New attack", icon=":material/add:", key="attack_new", type="tertiary", on_click=_forget)
        _watch(open_attack(settings(), name))
        return
    st.info(
        "Choose a picture, write a request and press Attack: the picture's colours are changed a little, step by step, "
        "until the model's answer is likely to begin as you wrote. Both models answer the changed picture on the way.",
        icon=":material/bolt:",
    )
    attack_form()


def attack_words(spec: PictureAttack) -> str:
    """How it was made, in a line."""
    attacked = column_names(spec.columns)[spec.attacked]
    model = without_folder(spec.model).name
    return f"{spec.steps} steps {spec.search.words} · seed {spec.seed} · against {attacked} · {model}"


def _watch(attack: AttackFolder) -> None:
    job_id = attack.job()
    job = queue().job(job_id, of={"attack": attack.id}) if job_id is not None else None
    if job is not None and job.status in ("queued", "running"):
        st.fragment(_follow, run_every=TICK)(attack, job.id)
    else:
        if attack.course().end is None:
            if job is not None and job.status == "cancelled":
                st.info("Stopped before it began: nothing was searched.", icon=":material/stop_circle:")
            else:
                lost = "The worker ended before the attack did: what it had found is below. Begin a new one."
                st.warning(plain((job.error if job else "") or lost), icon=":material/power_off:")
        _draw(attack)
        _ways_on(attack)


@catching
def _follow(attack: AttackFolder, job_id: int) -> None:
    """From the record; the page is drawn anew when the job has ended."""
    job = queue().job(job_id)
    if job is None or job.status not in ("queued", "running"):
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Stop", icon=":material/stop_circle:", key="attack_stop", on_click=_stop, args=(job_id,))
        worker = queue().worker()
        said, share = progress_words(queue().progress(job_id), doing_words(worker))
        if worker.alive:
            st.progress(share, text=plain(said))
        else:
            st.caption("The worker is not running: start it in the sidebar.")
    _draw(attack)


def _draw(attack: AttackFolder) -> None:
    spec, course = attack.spec(), attack.course()
    st.caption(plain(attack_words(spec)))
    hidden = spec.harmful and reveal_button(f"attack_{attack.id}", what="pictures, request and answers")
    with blurred(f"attack_request_{attack.id}", hidden=hidden):
        harmful_text(f"{spec.request} → {spec.target}", hidden=hidden)
    if course.end is not None and course.end.reason == "failed":
        st.error(plain(f"{ENDS['failed']}: {course.end.message}"), icon=":material/error:")
    losses, pictures = st.columns([1, 1.5], gap="large")
    with losses:
        _losses(attack, spec, course)
    with pictures:
        _pictures(attack, spec, course, hidden=hidden)
    if course.answers:
        _answers(attack, spec, course.answers, hidden=hidden)


def _losses(attack: AttackFolder, spec: PictureAttack, course: PixelCourse) -> None:
    if not course.steps or course.least is None:
        st.caption("No step has been taken yet.")
        return
    figure = pixel_losses(course)
    told = f"Lowest loss {course.least:.3f} nats a token after {spec.taken(len(course.steps))} steps; at first "
    told += f"{course.steps[0].loss:.3f}."
    if course.end is not None:
        told += f" {ENDS[course.end.reason]}, {duration(course.end.seconds)}."
    key = f"attack-{attack.id}"
    st.plotly_chart(on_screen(figure), key=key, config=picture_config(key), alt=f"Loss of the target. {told}")
    st.caption(plain(told))


def _pictures(attack: AttackFolder, spec: PictureAttack, course: PixelCourse, *, hidden: bool) -> None:
    places = st.columns(3, gap="small")
    with places[0]:
        st.caption("Original")
        harmful_picture(spec.picture, hidden=hidden, edge=EDGE)
    if not attack.perturbed.is_file():
        places[1].caption("The changed picture comes with the first answers.")
        return
    with places[1]:
        st.caption(plain(_changed_words(spec, course)))
        try:
            harmful_picture(picture_at(attack.perturbed), hidden=hidden, edge=EDGE)
        except DataError as error:
            st.caption(plain(str(error)))
            return
    with places[2]:
        st.caption(plain(f"Difference, times {difference_scale(spec.epsilon):.1f}"))
        if hidden:
            st.caption("Hidden with the pictures.")
            return
        try:
            changed = picture_at(attack.perturbed)
            png = _difference(spec.picture, written(spec.picture), changed, spec.epsilon)
        except DataError as error:
            st.caption(plain(str(error)))
            return
        st.image(png, alt="What was changed in each colour, made visible")
        st.caption("Grey: unchanged.")


def _changed_words(spec: PictureAttack, course: PixelCourse) -> str:
    """Stopped between two answers, the picture is a better one than theirs."""
    if not isinstance(course.picture, PixelSaved):
        return "Changed"
    steps = spec.taken(course.picture.done)
    return f"Changed, after {steps} steps, at a loss of {course.picture.loss:.3f}: not answered"


@lru_cache(maxsize=16)
def _difference(original: Picture, _written: int | None, changed: Picture, epsilon: int) -> bytes:
    return difference_png(image_of(original), image_of(changed), epsilon=epsilon, edge=EDGE)


def _answers(attack: AttackFolder, spec: PictureAttack, answers: tuple[PixelAnswers, ...], *, hidden: bool) -> None:
    _answer(attack, spec, answers[-1], hidden=hidden)
    if len(answers) > 1:
        with st.expander(f"Earlier answers ({len(answers) - 1})", icon=":material/history:"):
            for one in reversed(answers[:-1]):
                _answer(attack, spec, one, hidden=hidden)


def _answer(attack: AttackFolder, spec: PictureAttack, one: PixelAnswers, *, hidden: bool) -> None:
    st.caption(plain(f"Answered after {spec.taken(one.done)} steps, at a loss of {one.loss:.3f}"))
    names = column_names(spec.columns)
    for index, place in enumerate(st.columns(len(names), gap="medium", border=True)):
        with place:
            attacked = " (attacked)" if index == spec.attacked else ""
            st.markdown(f"**{plain(names[index] + attacked)}**")
            with blurred(f"attack_{attack.id}_{one.done}_{index}", hidden=hidden):
                harmful_text(one.texts[index] or "(says nothing)", hidden=hidden)


def _ways_on(attack: AttackFolder) -> None:
    if not attack.perturbed.is_file():
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            "Kept" if attack.is_kept else "Keep",
            icon=":material/bookmark:",
            key="attack_keep",
            type="primary",
            disabled=attack.is_kept,
            on_click=_keep,
            args=(attack,),
            help="Into the gallery, and among the pictures that can be asked about.",
        )
        attack_files(attack)


def attack_files(attack: AttackFolder) -> None:
    """The changed picture and how it was made, as files."""
    file_button("PNG", attack.perturbed.read_bytes, f"attack-{attack.id}.png", "image/png")
    file_button("JSON", attack.exported, f"attack-{attack.id}.json", "application/json")


@catching
def _keep(attack: AttackFolder) -> None:
    spec = attack.spec()
    name = f"PGD {time.strftime('%H%M%S')} on {spec.picture.alt or 'picture'}"
    kept = keep_picture(settings(), attack.perturbed.read_bytes(), name, attack=attack.id, harmful=spec.harmful)
    choose(kept.sha256)
    # Last: what is written beside it says that all is kept.
    attack.keep()


@catching
def _stop(job_id: int) -> None:
    queue().cancel(job_id)


def _forget() -> None:
    st.query_params.pop(ATTACK, None)
