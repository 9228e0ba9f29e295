"""`python -m engine lmms` with a stand-in for lmms-eval: its model class, and an evaluator with three rows of a task.
No hub, and no lmms-eval."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from making_kept import copied, trained_by_command
from making_seers import painted
from PIL import Image

from engine.__main__ import main
from engine.compute.evaluation import lmms as lmms_room
from engine.compute.evaluation.lmms import Question, answer_to, lmms_model, question_of
from engine.compute.model.adapters import attach_adapter
from engine.records.conversation import Text
from engine.records.errors import DataError, ModelError
from engine.records.runs import Run
from engine.records.settings import Settings
from engine.records.spec import RunSpec
from engine.records.spec_parts import AdapterSpec

# One picture under two questions, and two pictures under a third.
ROWS = [
    {"question": "<image>What is this?", "files": ["0.png"]},
    {"question": "What colour?", "files": ["0.png"]},
    {"question": "<image> <image>Compare.", "files": ["1.png", "2.png"]},
]
# Two filters of one metric keep their names.
FILTERED = {"match,strict": 0.1, "match,loose": 0.6}
SETTINGS = {"max_new_tokens": 4096, "temperature": 0.7, "until": ["\n\n"]}


class Asked:
    """As lmms-eval's model class: the evaluator puts its rows into task_dict."""

    def __init__(self) -> None:
        self.task_dict: dict = {}


@pytest.fixture
def rows(tmp_path: Path) -> dict:
    for seed in range(3):
        painted(tmp_path / f"{seed}.png", seed=seed, size=(24, 16 + 8 * seed))
    return {"three": {"test": [row | {"folder": tmp_path} for row in ROWS]}}


def shown(row: dict) -> list[Image.Image]:
    return [Image.open(row["folder"] / name) for name in row["files"]]


def requests(rows: dict) -> list[SimpleNamespace]:
    documents = rows["three"]["test"]
    return [
        SimpleNamespace(args=(row["question"], SETTINGS, shown, number, "three", "test"))
        for number, row in enumerate(documents)
    ]


@pytest.fixture
def lmms_eval(monkeypatch: pytest.MonkeyPatch, rows: dict) -> list[list[str]]:
    """The modules that are imported; returns what was answered, model by model."""
    answered: list[list[str]] = []

    def simple_evaluate(*, model, tasks, limit, batch_size, log_samples):
        assert isinstance(model, Asked)
        if tasks != ["three"]:
            raise KeyError(f"no task {tasks}")
        model.task_dict = rows
        answered.append(model.generate_until(requests(rows)[:limit]))
        figures = {"accuracy,none": 0.5 * len(answered), "accuracy_stderr,none": "N/A", "alias": "three", "odd": True}
        figures |= {"match,strict": 0.1, "match,loose": 0.6}
        return {"results": {"three": figures}}

    for name, content in (
        ("lmms_eval", {}),
        ("lmms_eval.api", {}),
        ("lmms_eval.api.model", {"lmms": Asked}),
        ("lmms_eval.evaluator", {"simple_evaluate": simple_evaluate}),
    ):
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    return answered


@pytest.fixture(scope="module")
def made(
    lasting_spec: Callable[..., RunSpec], tiny_llava_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """Each test gets a copy of it."""
    changes = {"model.name": str(tiny_llava_folder), "optimizer.steps": 2, "adapter.noise": 0.3}
    return trained_by_command(tmp_path_factory.mktemp("made"), lasting_spec(**changes))


@pytest.fixture
def run_id(made: Run, settings: Settings) -> str:
    return copied(made, settings).id


def test_three_rows_are_asked_of_both_models_and_their_figures_written(
    run_id: str, lmms_eval: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out.json"
    assert main(["lmms", run_id, "--task", "three", "--tokens", "6", "--json", str(out)]) == 0
    assert [len(texts) for texts in lmms_eval] == [3, 3] and lmms_eval[0] != lmms_eval[1]
    report = json.loads(out.read_text())
    assert report["tasks"] == {
        "three": {"base": {"accuracy": 0.5} | FILTERED, "rerouted": {"accuracy": 1.0} | FILTERED}
    }
    assert report["run"] == run_id and "three, accuracy: base 0.5 circuit-broken 1" in capsys.readouterr().out
    assert main(["lmms", run_id, "--task", "three", "--tokens", "6", "--limit", "1"]) == 0
    assert [len(texts) for texts in lmms_eval[2:]] == [1, 1]


def test_a_question_that_cannot_be_asked_costs_no_other_its_answer(
    run_id: str, lmms_eval: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
):
    """One that is longer than the context, and a picture in a mode that PNG has not."""
    answer = lmms_room.answer_to

    def without_the_second(model, adapter, question):
        asked.append(question)
        if len(asked) % 3 == 2:
            raise ModelError("The prompt has 9,000 tokens.")
        return answer(model, adapter, question)

    asked: list = []
    monkeypatch.setattr(lmms_room, "answer_to", without_the_second)
    out = tmp_path / "out.json"
    assert main(["lmms", run_id, "--task", "three", "--tokens", "6", "--json", str(out)]) == 0
    assert [[bool(text) for text in texts][1] for texts in lmms_eval] == [False, False]
    assert json.loads(out.read_text())["unanswered"] == {"base": 1, "rerouted": 1}
    assert "base: 1 questions were not asked and count as answered with nothing: The prompt" in capsys.readouterr().out
    assert lmms_room._kept(Image.new("CMYK", (4, 4)), tmp_path / "print.png").sha256


def test_what_is_wrong_is_said(run_id: str, lmms_eval: list, capsys, monkeypatch: pytest.MonkeyPatch):
    for given, said in [
        (["--task", "none"], "lmms-eval could not carry out none"),
        (["--task", "three", "--tokens", "600"], "more than"),
        (["--tokens", "0"], "--tokens 0: give"),
    ]:
        assert main(["lmms", run_id, *given]) == 2
        assert said in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "lmms_eval.evaluator", None)
    assert main(["lmms", run_id, "--task", "three"]) == 2
    assert "lmms-eval cannot be imported" in capsys.readouterr().err


def test_a_question_shows_its_pictures_before_its_words_and_answers_end_where_the_task_says(
    tiny_llava, rows: dict, tmp_path: Path
):
    one, other, two = (
        question_of(tiny_llava, request.args, rows, folder=tmp_path / "kept", most_tokens=5)
        for request in requests(rows)
    )
    assert one.conversation.text == "What is this?" and two.conversation.text == "Compare."
    assert isinstance(two.conversation.messages[0].parts[-1], Text) and len(two.conversation.pictures) == 2
    assert one.conversation.picture_keys == other.conversation.picture_keys
    assert (one.new_tokens, one.until) == (5, ("\n\n",))
    whole = answer_to(tiny_llava, None, one)
    cut = answer_to(tiny_llava, None, Question(one.conversation, 5, (whole[1:2],)))
    assert len(whole) > 1 and cut == whole[:1].strip()
    attach_adapter(tiny_llava, "broken", AdapterSpec(rank=4, alpha=4, noise=0.5), [0, 1], seed=0)
    assert answer_to(tiny_llava, "broken", one) != whole


def test_blind_models_films_and_other_kinds_of_questions_are_refused(
    tiny_llava, tiny_model, lmms_eval: list, rows: dict, tmp_path: Path
):
    with pytest.raises(ModelError, match="sees no pictures, and these tasks show some"):
        lmms_model(tiny_model, None, folder=tmp_path, most_tokens=5)
    asked = lmms_model(tiny_llava, None, folder=tmp_path, most_tokens=5)
    for method in (asked.loglikelihood, asked.generate_until_multi_round):
        with pytest.raises(DataError, match="asks for likelihoods or several rounds"):
            method([])
    film = ("What?", {}, lambda row: ["film.mp4"], 0, "three", "test")
    with pytest.raises(DataError, match="shows a str, and only pictures are shown here"):
        question_of(tiny_llava, film, rows, folder=tmp_path, most_tokens=5)
