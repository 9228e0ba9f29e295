"""Each check of a lesson can be met and can fail, by the records that a learner leaves."""

import pytest
from making_captures import write_capture, write_map

from engine.records.captures.capture import capture_folder
from engine.records.captures.projections import (
    BlockExamination,
    Examination,
    ExaminationRequest,
    MapFigures,
    ProjectionRequest,
    examination_file,
)
from engine.records.chats.asked import Column, ForcedCall, Steering
from engine.records.chats.chat import Exchange, new_chat
from engine.records.chats.replies import Answered, Trip
from engine.records.evaluation.counts import count
from engine.records.evaluation.findings import AttackResult, Evaluation, PictureFindings, ToolFindings, write_evaluation
from engine.records.events import ControlEvent
from engine.records.files import write_whole
from engine.records.lessons.checking import judge, run_named
from engine.records.lessons.lesson import (
    Answer,
    Asked,
    Captured,
    Evaluated,
    Looked,
    PausedAndResumed,
    RunExists,
)
from engine.records.lessons.progress import Given
from engine.records.runs import create_run, delete_run
from engine.records.spec_parts import ModelSpec
from engine.records.spec_text import build_spec

BASE = Column(checkpoint="base")
CAPTURE_KEY = "made"


@pytest.fixture
def run(settings):
    run = create_run(settings.runs, build_spec({}), preset="quick", name="mine")
    figures = {"heldout_cosine": 0.3, "heldout_benign_cosine": 0.95}
    run.update(status="finished", step=10, targets=(12, 14), figures=figures)
    return run


def met(check, settings, *given: str) -> bool:
    return judge(check, settings, [Given(text=text) for text in given]).met


def asked(settings, *, answered: bool = True, tripped: bool = False, **more):
    columns = more.pop("columns", (BASE,))
    chat = new_chat(settings, columns)
    number = chat.ask(Exchange(model=ModelSpec(), columns=columns, user="something", **more))
    if answered:
        chat.append(number, Answered(ids=((1,),), reasons=("end",), first_token_seconds=1, seconds=1))
    if tripped:
        chat.append(number, Trip(column=0, against=columns[0], prefill=0, pieces=("a",), cosines=((0.9,), (0.2,))))


def test_an_answer_is_right_by_its_choice_or_within_the_tolerance(settings):
    choice = Answer(kind="answer", question="Q", why="W", choices=("a", "b"), right=2)
    assert not met(choice, settings) and not met(choice, settings, "1") and met(choice, settings, "1", "2")
    assert not met(choice, settings, "2", "1"), "the last answer counts"
    number = Answer(kind="answer", question="Q", why="W", number=0.53, tolerance=0.03)
    assert met(number, settings, "0,55") and met(number, settings, " 0.50 ")
    assert not met(number, settings, "0.57") and not met(number, settings, "half") and not met(number, settings, "nan")
    # Its unit, or the words of the question, beside it; of two numbers none is meant.
    assert met(number, settings, "0.55 nats") and met(number, settings, "Block 0,53")
    assert not met(number, settings, "0.53 or 0.9") and not met(number, settings, "\u22120.53")


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({}, ""),
        ({"preset": "quick", "cosine_below": 0.4, "benign_above": 0.9, "targets": (12, 14)}, ""),
        ({"preset": "default"}, "not of the preset default"),
        ({"cosine_below": 0.2}, "harmful cosine is 0.30, not below 0.2"),
        ({"cosine_above": 0.8}, "harmful cosine is 0.30, not above 0.8"),
        ({"benign_above": 0.97}, "benign cosine is 0.95, not above 0.97"),
        ({"targets": (10, 13)}, "target blocks are 12, 14, not within 10 to 13"),
        ({"settings": {"adapter.noise": 0.0}}, "adapter.noise is 0.001, not 0.0"),
        ({"settings": {"adapter.noise": 0.001}}, ""),
    ],
)
def test_a_run_is_there_or_what_it_lacks_is_said(settings, run, wanted, said):
    judged = judge(RunExists(kind="run_exists", **wanted), settings)
    assert (judged.met, judged.run) == ((True, run.id) if not said else (False, "")) and said in judged.words


def test_of_two_runs_one_that_meets_it_is_enough_and_one_under_way_has_begun(settings, run):
    other = create_run(settings.runs, build_spec({}), name="other")
    other.update(status="running", step=3)
    assert met(RunExists(kind="run_exists", cosine_below=0.4), settings)
    run.update(status="failed")
    assert not met(RunExists(kind="run_exists", cosine_below=0.4), settings)
    assert met(RunExists(kind="run_exists", status="begun"), settings)
    # Which blocks it targets is known once its rows are there.
    aimed = RunExists(kind="run_exists", status="begun", preset=other.record().preset, targets=(0, 29))
    run.update(targets=())
    assert not met(aimed, settings)
    other.update(targets=(10, 20))
    assert met(aimed, settings)
    delete_run(run)
    other.update(figures={}, status="finished")
    judged = judge(RunExists(kind="run_exists", cosine_below=0.4), settings)
    assert not judged.met and "was not measured" in judged.words


def test_no_run_of_ones_own_meets_nothing(settings):
    for check in (RunExists(kind="run_exists"), PausedAndResumed(kind="paused_and_resumed")):
        assert not met(check, settings)


def test_a_pause_counts_once_the_run_went_on(settings, run):
    check = PausedAndResumed(kind="paused_and_resumed")
    assert not met(check, settings)
    run.append(ControlEvent(control="resume", step=1))
    run.append(ControlEvent(control="pause", step=2))
    assert not met(check, settings) and "has not gone on" in judge(check, settings).words
    run.append(ControlEvent(control="resume", step=2))
    assert met(check, settings)
    # A newer one that was paused and is over takes nothing away.
    newer = create_run(settings.runs, build_spec({}))
    newer.append(ControlEvent(control="pause", step=2))
    assert met(check, settings)


@pytest.mark.parametrize(
    ("wanted", "right", "wrong"),
    [
        ({"label": "harmful"}, {"harmful": True}, {"harmful": False}),
        ({"label": "benign"}, {}, {"prompt_id": "e-violence-question-1"}),
        ({"label": "borderline"}, {"prompt_id": "e-violence-question-1"}, {"prompt_id": "b-cooking-question-1"}),
        ({"label": "borderline"}, {"prompt_id": "tb-mail-imperative-1"}, {"harmful": True}),
        ({"prefill": True}, {"prefill": "Sure"}, {"prefill": "  "}),
        ({"forced_call": True}, {"forced": ForcedCall(name="send")}, {}),
        ({"tripped": True}, {"tripped": True}, {}),
        ({}, {}, {"answered": False}),
    ],
)
def test_a_question_is_of_the_kind_that_is_asked_for_or_not(settings, wanted, right, wrong):
    check = Asked(kind="asked", **wanted)
    assert judge(check, settings).words == "You have asked nothing yet."
    asked(settings, **wrong)
    assert not met(check, settings)
    asked(settings, **right)
    assert met(check, settings)


def test_steering_counts_by_its_strength_either_way_and_by_its_block(settings, run):
    def column(strength: float, block: int = 19) -> Column:
        return Column(checkpoint=run.id, steering=Steering(capture="c", block=block, strength=strength))

    check = Asked(kind="asked", steered=1.0, blocks=(19, 19), run=run.id)
    for columns in ((BASE,), (column(0.5),), (column(2, 15),)):
        asked(settings, columns=columns)
        assert not met(check, settings)
    asked(settings, columns=(BASE, column(-2)))
    judged = judge(check, settings)
    assert judged.met and judged.run == run.id


def test_a_capture_counts_by_whose_it_is_and_its_size(settings, run):
    check = Captured(kind="captured", of="base", prompts=10)
    assert not met(check, settings)
    write_capture(settings.cache / "captures" / "alone", harmful=3, benign=3, key="alone")
    assert not met(check, settings) and "has 6 prompts" in judge(check, settings).words
    write_capture(run.representations_folder / CAPTURE_KEY, run_id=run.id, key=CAPTURE_KEY)
    assert not met(check, settings) and met(Captured(kind="captured", of="run", prompts=10), settings)
    write_capture(settings.cache / "captures" / "more", key="more")
    assert met(check, settings)


def test_a_map_counts_by_its_method_and_block(settings, run):
    capture = write_capture(capture_folder(settings, run.id, CAPTURE_KEY), run_id=run.id, key=CAPTURE_KEY)
    check = Looked(kind="looked", at="map", method="probe", blocks=(1, 1), run=run.id)

    def draw(**changes):
        index = capture.index
        request = {"run_id": run.id, "key": index.key, "digest": index.digest, "checkpoints": index.checkpoints}
        write_map(capture, ProjectionRequest(**request | {"block": 1, "method": "probe"} | changes), MapFigures())

    for wrong in ({"block": 2}, {"method": "pca"}):
        draw(**wrong)
        assert not met(check, settings)
    draw(tokens="last_prompt", space="raw", dimensions=3)
    assert met(check, settings)


def test_separation_and_tokens_count_once_they_are_there(settings, run):
    capture = write_capture(capture_folder(settings, run.id, CAPTURE_KEY), run_id=run.id, key=CAPTURE_KEY)
    separation, tokens = Looked(kind="looked", at="separation"), Looked(kind="looked", at="tokens")
    assert not met(separation, settings) and not met(tokens, settings)
    block = BlockExamination(block=1, auc=0.9, auc_borderline=None, distance=1.0, top_energy=0.5)
    examination = Examination(blocks=(block,), targets="", adapted="", reason="")
    request = ExaminationRequest(run_id=run.id, key=CAPTURE_KEY, digest=capture.index.digest)
    write_whole(examination_file(capture, request), examination.model_dump_json())
    assert met(separation, settings) and not met(tokens, settings)
    more = len(capture.index.prompts) + 1
    assert not met(separation.model_copy(update={"prompts": more}), settings)
    assert met(separation.model_copy(update={"prompts": more - 1}), settings)
    write_whole(capture.results_folder / "tokens" / "some.json", "{}")
    assert met(tokens, settings)


def test_an_evaluation_counts_by_its_attacks_and_its_run(settings, run):
    check = Evaluated(kind="evaluated", attacks=("direct", "prefill"), run=run.id)
    result = AttackResult(base=count(["complied"] * 2), rerouted=count(["refused"] * 2))

    def evaluate(key: str, attacks: tuple[str, ...], **more):
        found = Evaluation(key=key, run=run.id, attacks=dict.fromkeys(attacks, result), **more)
        write_evaluation(run, settings, found, [])

    assert not met(check, settings)
    evaluate("one", ("direct",))
    assert not met(check, settings) and not met(Evaluated(kind="evaluated", tools=True), settings)
    evaluate("two", ("direct", "prefill"), tools=ToolFindings(attacks={"forced_call": result}))
    assert met(check, settings) and met(Evaluated(kind="evaluated", tools=True), settings)
    other = create_run(settings.runs, build_spec({}))
    assert not met(Evaluated(kind="evaluated", run=other.id), settings)
    seen = Evaluated(kind="evaluated", attacks=("pgd",))
    assert not met(seen, settings)
    evaluate("three", (), pictures=PictureFindings(attacks={"pgd": result}))
    assert met(seen, settings), "requests that show pictures have attacks of their own"


def test_a_run_that_is_gone_is_said_and_hidden_samples_too(settings):
    judged = judge(Asked(kind="asked", run="gone"), settings)
    assert not judged.met and "This step cannot be checked. There is no run 'gone'" in judged.words
    assert "The run that ships is hidden" in judge(Looked(kind="looked", at="map", run="shipped"), settings).words


def test_what_ships_is_not_the_learners_own(settings, monkeypatch):
    monkeypatch.delenv("WORKBENCH_SHIPPED_RUNS")
    assert run_named("shipped", settings).read_only
    for check in (RunExists(kind="run_exists"), Captured(kind="captured"), Evaluated(kind="evaluated")):
        assert not met(check, settings)
