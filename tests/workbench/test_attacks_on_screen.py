"""The tabs Attack and Gallery of the page Pictures, from records that no worker wrote."""

import io
import json

import pytest
from making_seers import painted
from PIL import Image
from test_pictures_on_screen import kept, no_worker, opened, said

from engine.desk.queue import Queue
from engine.figures.pixel_attack import pixel_losses
from engine.records.chats.asked import Column
from engine.records.kept_pictures import kept_pictures
from engine.records.picture_attacks import (
    PictureAttack,
    PixelAnswers,
    PixelCourse,
    PixelEnd,
    PixelSaved,
    PixelStep,
    list_attacks,
    new_attack,
)
from engine.records.spec_parts import ModelSpec
from workbench.pictures.choice import CHOSEN
from workbench.pictures.difference import difference_png, difference_scale

__all__ = ["kept", "no_worker"]


@pytest.fixture(autouse=True)
def no_worker_for_attacks(monkeypatch):
    monkeypatch.setattr("workbench.pictures.attack_form.ensure_worker", lambda _: None)


def watched(settings, folder, picture, seed: int = 0, **changes):
    """An attack that was stopped after five steps."""
    spec = {
        "model": ModelSpec(name=str(folder)),
        "columns": (Column(checkpoint="base"),),
        "picture": picture,
        **changes,
    }
    attack = new_attack(settings, PictureAttack(request="What is this?", seed=seed, **spec))
    for step in range(5):
        attack.append(PixelStep(restart=0, step=step, loss=5.0 - step))
    attack.append(PixelAnswers(done=3, loss=3.0, texts=("the first answer",)))
    attack.append(PixelAnswers(done=5, loss=1.0, texts=("the last answer",)))
    attack.append(PixelEnd(reason="stopped", seconds=2.0))
    painted(attack.perturbed, size=(40, 20), seed=50 + seed)
    return attack


def pressed(page, label: str):
    next(one for one in page.button if one.label == label).click().run()
    assert not page.exception
    return page


def test_an_attack_begins_with_what_the_form_says_and_is_looked_at(settings, tiny_llava_folder, kept):
    page = opened(tiny_llava_folder, pictures_view="Attack")
    pressed(page, "Attack")
    assert "No picture is chosen" in said(page)
    page.selectbox(key=CHOSEN).set_value(kept[0].sha256).run()
    pressed(page, "Attack")
    assert "The request is empty" in said(page) and list_attacks(settings) == []
    page.text_area(key="attack_request").set_value("What is this?")
    page.number_input(key="attack_epsilon").set_value(8)
    page.toggle(key="attack_random_start").set_value(False)
    page.run()
    pressed(page, "Attack")
    [attack] = list_attacks(settings)
    spec = attack.spec()
    assert (spec.epsilon, spec.random_start, spec.steps, spec.picture.sha256) == (8, False, 100, kept[0].sha256)
    assert page.query_params["attack"] == attack.id
    assert Queue(settings.desk).job(attack.job()).payload == {"attack": attack.id}
    assert "No step has been taken yet" in said(page)


def test_what_was_found_is_shown_and_answers_stay_hidden_until_revealed(settings, tiny_llava_folder, kept):
    attack = watched(settings, tiny_llava_folder, kept[0].part(settings))
    page = opened(tiny_llava_folder, pictures_view="Attack", attack=attack.id)
    told = said(page)
    assert "Lowest loss 1.000 nats a token after 4 steps; at first 5.000. Stopped" in told
    assert "Difference, times 4.0" in told and "Answered after 4 steps" in told
    assert "within 32 of 255" in told and f"against Base · {tiny_llava_folder.name}" in told
    assert "the last answer" not in [one.value for one in page.text]
    pressed(page, "Reveal pictures, request and answers")
    shown = {"the last answer", "the first answer", "What is this? → Sure, here is"}
    assert shown <= {one.value for one in page.text}


def test_a_kept_one_is_in_the_gallery_and_can_be_asked_about(settings, tiny_llava_folder, kept):
    attacks = [watched(settings, tiny_llava_folder, kept[0].part(settings), seed=seed) for seed in range(2)]
    empty = opened(tiny_llava_folder, pictures_view="Gallery")
    assert "once you have kept one" in said(empty)
    pressed(opened(tiny_llava_folder, pictures_view="Attack", attack=attacks[0].id), "Keep")
    assert [one.is_kept for one in attacks] == [True, False]
    beside = json.loads((attacks[0].folder / "attack.json").read_text())
    assert beside["epsilon"] == 32 and len(beside["losses"]) == 5 and "answer" not in json.dumps(beside["losses"])
    assert kept_pictures(settings)[0].attack == attacks[0].id
    page = opened(tiny_llava_folder, pictures_view="Gallery")
    assert "once you have kept one" not in said(page)
    # With what it was asked and where to, hidden with the picture.
    assert "What is this? → Sure, here is" not in [one.value for one in page.text]
    for button in [one for one in page.button if one.label == "Reveal picture and request"]:
        button.click()
    page.run()
    assert "What is this? → Sure, here is" in [one.value for one in page.text]
    page.button(key=f"use_{attacks[0].id}").click().run()
    assert page.session_state[CHOSEN] == kept_pictures(settings)[0].sha256
    page = opened(tiny_llava_folder, pictures_view="Gallery")
    page.button(key=f"delete_{attacks[1].id}").click().run()
    assert [one.id for one in list_attacks(settings)] == [attacks[0].id]


def test_a_damaged_picture_takes_no_other_row_from_the_gallery(settings, tiny_llava_folder, kept):
    attacks = [watched(settings, tiny_llava_folder, kept[0].part(settings), seed=seed) for seed in range(3)]
    for attack in attacks:
        attack.keep()
    attacks[1].perturbed.write_bytes(b"no picture")
    page = opened(tiny_llava_folder, pictures_view="Gallery")
    assert [page.button(key=f"delete_{attack.id}").label for attack in attacks] == ["Delete"] * 3
    assert "perturbed.png is no picture" in said(page)
    assert "perturbed.png is no picture" in said(
        opened(tiny_llava_folder, pictures_view="Attack", attack=attacks[1].id)
    )


def test_one_that_is_deleted_while_it_is_under_way_is_stopped_and_a_damaged_one_can_be_deleted(
    settings, tiny_llava_folder, kept
):
    spec = {"model": ModelSpec(name=str(tiny_llava_folder)), "columns": (Column(checkpoint="base"),)}
    queue, attacks = Queue(settings.desk), []
    for seed in range(2):
        attack = new_attack(settings, PictureAttack(request="?", picture=kept[0].part(settings), seed=seed, **spec))
        attack.set_job(queue.submit("attack_picture", payload={"attack": attack.id}))
        attacks.append(attack)
    jobs = {attack.job() for attack in attacks}
    (attacks[1].folder / "spec.json").write_text("{")
    page = opened(tiny_llava_folder, pictures_view="Gallery")
    assert "cannot be read" in said(page)
    for attack in attacks:
        page.button(key=f"delete_{attack.id}").click().run()
    assert list_attacks(settings) == [] and queue.take_unwanted() == jobs


def test_an_attack_whose_worker_ended_and_one_that_is_gone_say_so(settings, tiny_llava_folder, kept):
    spec = {"model": ModelSpec(name=str(tiny_llava_folder)), "columns": (Column(checkpoint="base"),)}
    attack = new_attack(settings, PictureAttack(request="?", picture=kept[0].part(settings), **spec))
    told = said(opened(tiny_llava_folder, pictures_view="Attack", attack=attack.id))
    assert "The worker ended before the attack did" in told
    gone = opened(tiny_llava_folder, pictures_view="Attack", attack="none")
    assert "There is no attack 'none'" in said(gone)
    # There is a way on.
    gone.button(key="attack_new").click().run()
    assert "attack" not in gone.query_params and "There is no attack" not in said(gone)


def test_a_picture_that_was_left_between_two_answers_says_that_it_is_not_the_answered_one(
    settings, tiny_llava_folder, kept
):
    told = []
    for saved in ((), (PixelSaved(done=5, loss=0.5),)):
        attack = watched(settings, tiny_llava_folder, kept[0].part(settings))
        for event in saved:
            attack.append(event)
        told.append(said(opened(tiny_llava_folder, pictures_view="Attack", attack=attack.id)))
    assert "not answered" not in told[0] and "Changed, after 4 steps, at a loss of 0.500: not answered" in told[1]


def test_one_that_was_cancelled_as_it_waited_says_that_nothing_was_searched(settings, tiny_llava_folder, kept):
    """Of two the other one waits on."""
    spec = {"model": ModelSpec(name=str(tiny_llava_folder)), "columns": (Column(checkpoint="base"),)}
    queue, pages = Queue(settings.desk), []
    for seed in range(2):
        attack = new_attack(settings, PictureAttack(request="?", picture=kept[0].part(settings), seed=seed, **spec))
        attack.set_job(queue.submit("attack_picture", payload={"attack": attack.id}))
        pages.append(attack)
    queue.cancel(pages[0].job())
    told, other = (said(opened(tiny_llava_folder, pictures_view="Attack", attack=one.id)) for one in pages)
    assert "Stopped before it began: nothing was searched." in told and "The worker ended" not in told
    assert "Stopped before it began" not in other


def test_the_farthest_change_becomes_black_or_white_and_none_grey():
    original = Image.new("RGB", (3, 1), (100, 100, 100))
    changed = original.copy()
    changed.putpixel((0, 0), (132, 100, 68))
    shown = Image.open(io.BytesIO(difference_png(original, changed, epsilon=32, edge=240)))
    assert shown.getpixel((0, 0)) == (255, 128, 1) and shown.getpixel((shown.width - 1, 0)) == (128, 128, 128)
    assert difference_scale(32) == pytest.approx(3.97, abs=0.01)


def test_each_restart_is_a_line_behind_the_one_before():
    steps = tuple(PixelStep(restart=r, step=s, loss=1.0 + s) for r in range(2) for s in range(3))
    figure = pixel_losses(PixelCourse(steps, (PixelAnswers(done=4, loss=1.0, texts=("",)),)))
    assert [list(line.x) for line in figure.data] == [[0, 1, 2], [3, 4, 5], [3]]
    assert [line.name for line in figure.data] == ["restart 1", "restart 2", "answered"]
