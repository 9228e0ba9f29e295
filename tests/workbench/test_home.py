"""Home's film is arithmetic that can be followed, its transcripts hold no harmful answer, and nothing heavy loads."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from engine.figures.film import Film, _film, film_of, film_points
from engine.figures.film_picture import film_svg, finding, pixels
from engine.records.captures.capture import Capture
from engine.records.evaluation.counts import count
from engine.records.evaluation.findings import AttackResult, Evaluation, write_evaluation
from engine.records.events import Progress, StepResult
from engine.records.runs import Record, Run, create_run
from engine.records.settings import ROOT, SAMPLE_DATA
from engine.records.shipped import shipped_run
from engine.records.spec_parts import BUNDLED_MODEL
from engine.records.spec_text import build_spec
from workbench.chat import composer
from workbench.home.pair import condensed, shipped_chats
from workbench.home.recent import time_left
from workbench.home.shipped import broadest_evaluation, matrix_line
from workbench.kit import state

SHIPPED = [
    run
    for run in (Run(path.parent) for path in (SAMPLE_DATA / "runs").glob("*/record.json"))
    if run.spec().model.name == BUNDLED_MODEL
]
GROUPS = ["harmful"] * 4 + ["benign"] * 4


def moved(*moves: tuple[int, float]) -> np.ndarray:
    """Vectors of GROUPS at two steps, in six dimensions: the first is all zeros but a little in dimension 5, in the
    second prompt i has moved by moves[i] = (dimension, length)."""
    base = np.zeros((8, 6))
    base[:, 5] = np.linspace(-0.1, 0.1, 8)
    last = base.copy()
    for prompt, (dimension, length) in enumerate(moves):
        last[prompt, dimension] += length
    return np.stack([base, last])


def test_harmful_answers_move_across_by_what_they_moved_and_benign_ones_stay():
    """All harmful ones move 10 along dimension 0: the direction is that dimension, and the length is kept."""
    points = film_points(moved(*[(0, 10.0)] * 4), GROUPS)
    assert np.allclose((points[1] - points[0])[:, 0], [10.0] * 4 + [0.0] * 4)
    assert np.allclose(points[0].mean(axis=0), 0)


def test_an_arrow_across_is_held_out_of_the_fit_of_its_own_direction():
    """Prompts 0 and 2 move along dimension 0, 1 and 3 along dimension 1: each half sees nothing of the other's way."""
    points = film_points(moved((0, 10.0), (1, 10.0), (0, 10.0), (1, 10.0)), GROUPS)
    assert np.allclose((points[1] - points[0])[:, 0], 0, atol=1e-9)


def film(**changes) -> Film:
    points = film_points(moved(*[(0, 10.0)] * 4), GROUPS)
    return Film((0, 100), points, tuple(GROUPS), (True, True, True, False) + (False,) * 4, 3)._replace(**changes)


def test_the_picture_says_its_finding_with_its_numbers_and_draws_an_arrow_a_prompt():
    assert finding(film()) == "3 of 4 harmful answers are turned away, 4 of 4 everyday ones stay."
    assert finding(film()._replace(strength=0.5)).endswith(
        "stay, at the strength of the training: the finished adapter acts 0.5 times as strongly."
    )
    picture = film_svg(film())
    assert picture.count("<line") == 8 and "standard deviations" in picture and "at block 3" in picture


def test_every_place_of_the_film_is_on_the_picture():
    places = np.array(pixels(film()))
    assert places.shape == (2, 8, 2)
    assert (places >= 0).all() and (places[..., 0] <= 660).all() and (places[..., 1] <= 400).all()


@pytest.mark.parametrize("run", SHIPPED, ids=lambda run: run.id)
def test_the_film_of_the_run_that_ships_is_its_own_capture(run):
    shown = film_of(run)
    assert shown is not None and shown.steps[0] == 0 and shown.steps[-1] == run.record().step
    assert shown.block in run.record().targets
    away = np.abs(shown.points[-1, :, 0] - shown.points[0, :, 0])
    turned = np.array(shown.turned)
    assert away[turned].min() > away[~turned].max()


def test_whether_a_prompt_stays_is_told_of_its_answer_as_its_arrow_is(monkeypatch):
    """Benign prompts' own tokens come back last: over all of them a run that was stopped early keeps none."""
    measured, measure = [], Capture.measure

    def noted(self: Capture, checkpoint, measure_name, block, averaged=None):
        measured.append(averaged)
        return measure(self, checkpoint, measure_name, block, averaged)

    monkeypatch.setattr(Capture, "measure", noted)
    _film.cache_clear()
    assert film_of(SHIPPED[0]) is not None and measured == ["answer"]


@pytest.mark.parametrize("run", SHIPPED, ids=lambda run: run.id)
def test_what_ships_holds_no_more_of_a_harmful_answer_than_its_opening(run):
    """Eight words of the base model's, marked as cut; and of the circuit-broken model's a few words of noise."""
    exchanges = [(chat, number, chat.exchange(number)) for chat in shipped_chats(run) for number in chat.numbers()]
    assert [exchange.harmful for *_, exchange in exchanges].count(True) == 1
    for chat, number, exchange in exchanges:
        reply = chat.reply(number)
        words = {verdict.column: verdict.word for verdict in reply.verdicts}
        if not exchange.harmful:
            assert words == {0: "complied", 1: "complied"}
            assert min(len(reply.text(column).split()) for column in (0, 1)) > 20
            continue
        assert len(reply.text(0).split()) <= 8 and reply.answered.reasons[0] == "stopped"
        assert reply.answered.ids == ((), ())
        assert words[1] == "incoherent" and len(set(reply.text(1).split())) <= 8
    shipped = {path.name for path in run.folder.rglob("*") if path.suffix in (".jsonl", ".json")}
    assert "answers.json" not in shipped and not any(name.endswith(".rows.jsonl") for name in shipped)


def test_empty_lines_of_an_answer_are_counted_and_not_shown():
    assert condensed(" the can to\n\n\n\nso\none\n") == "the can to (4 empty lines) so one"


def test_the_box_of_side_by_side_has_the_keys_that_home_writes_to():
    assert (composer.TEXT, composer.HARMFUL, composer.PROMPT_ID) == (
        state.CHAT_TEXT,
        state.CHAT_HARMFUL,
        state.CHAT_PROMPT,
    )


def evaluation(key: str, n: int, complied: int, created: float) -> Evaluation:
    direct = AttackResult(
        base=count(["complied"] * n), rerouted=count(["complied"] * complied + ["refused"] * (n - complied))
    )
    kept = {"base": count(["complied"] * n), "rerouted": count(["complied"] * n)}
    return Evaluation(key=key, run="any", created=created, attacks={"direct": direct}, benign_answers=kept)


def test_the_line_is_of_the_broadest_evaluation_and_says_n_and_interval(settings):
    """Of 40, 4 complied: 10 %, Wilson interval 4 to 23 %."""
    run = create_run(settings.runs, build_spec({}))
    write_evaluation(run, settings, evaluation("long", 40, 4, created=1.0), [])
    write_evaluation(run, settings, evaluation("quick", 4, 0, created=2.0), [])
    broadest = broadest_evaluation(run, settings)
    assert broadest is not None and broadest.key == "long"
    line = matrix_line(broadest).replace("\N{NO-BREAK SPACE}", " ")
    assert "Of 40 **harmful** requests **10 %** (4 to 23) are still answered" in line
    assert "Of 40 **harmless** ones **100 %** (91 to 100) are" in line


@pytest.fixture
def drawn(settings) -> Iterator[Callable[[], AppTest]]:
    """The page of these folders, drawn without a browser."""
    state.settings.cache_clear()
    yield lambda: AppTest.from_file(str(ROOT / "pages" / "home.py"), default_timeout=60).run()
    state.settings.cache_clear()


def test_home_makes_sense_where_the_run_that_ships_is_hidden(settings, drawn):
    assert shipped_run(settings.runs) is None
    page = drawn()
    assert not page.exception and not page.error
    assert page.button(key="train_quick").label == "Train one in four minutes"
    assert any("Your own runs will be listed here" in caption.value for caption in page.caption)


def test_a_run_whose_record_is_damaged_is_listed_with_a_sentence(settings, drawn):
    whole, damaged = (create_run(settings.runs, build_spec({}), name=name) for name in ("whole", "damaged"))
    (damaged.folder / "record.json").write_text("{")
    page = drawn()
    assert not page.exception and not page.error
    assert any("no readable record" in caption.value.replace("\\", "") for caption in page.caption)
    assert page.button(key="train_quick").label == "Train one next"
    assert whole.record().status == "queued"


def test_home_loads_no_model_and_no_heavy_library():
    heavy = {"torch", "transformers", "peft", "umap", "sklearn", "scipy", "pandas", "engine.compute"}
    parts = sorted(f"workbench.home.{path.stem}" for path in Path(ROOT / "workbench" / "home").glob("[a-z]*.py"))
    code = f"import sys, {', '.join(parts)}, workbench.sidebar; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & heavy == set()


def step_at(step: int, when: float) -> StepResult:
    return StepResult(
        step=step, time=when, reroute_loss=1, retain_loss=0, reroute_weight=1, retain_weight=1, loss=1,
        gradient_norm=1, learning_rate=1e-3, tokens=10, seconds=1,
    )  # fmt: skip


def record_at(step: int, **changes) -> Record:
    return Record(id="r", status="running", digest="d", step=step, steps=100, **changes)


def test_the_time_left_goes_by_the_pace_of_the_newest_steps():
    """Steps 40, 41 and 42 ended at 0, 3 and 6 seconds, a capture among them: 57 steps of 3 seconds are left."""
    events = [step_at(40, 0.0), step_at(41, 3.0), step_at(42, 6.0)]
    assert time_left(record_at(43), events) == 171.0
    assert time_left(record_at(43), events[:1]) is None
    # A night between two of them is no pace.
    rested = [step_at(38 + number, 3.0 * number + (8 * 3600 if number > 2 else 0)) for number in range(5)]
    assert time_left(record_at(43), rested) == 171.0


def test_before_the_first_step_the_time_left_is_what_was_expected():
    """A quarter of the answers is given: 75 of 100 seconds, then 200 of training."""
    expected = {"answer": 100.0, "train": 200.0}
    answering = Progress(phase="eliciting", done=128, total=512)
    assert time_left(record_at(0, expected=expected), [answering]) == 275.0
    assert time_left(record_at(0, expected=expected), [Progress(phase="measuring")]) == 200.0
    assert time_left(record_at(0), [answering]) is None


def test_a_run_that_keeps_an_earlier_checkpoint_is_filmed_up_to_it(tmp_path):
    """Beyond it training went on, and what that did is not what the run holds."""
    run = Run(shutil.copytree(SHIPPED[0].folder, tmp_path / SHIPPED[0].id))
    whole = film_of(run)
    run.update(step=whole.steps[-2])
    kept = film_of(run)
    assert kept.steps == whole.steps[:-1] and kept.points.shape[0] == len(kept.steps)
    run.update(status="stopped")
    assert film_of(run).steps == whole.steps
