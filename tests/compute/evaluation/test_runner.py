"""What an attempt is remembered under: everything that the model reads; and how far a search goes."""

import pytest
import torch
from making import drain
from making_seers import painted, showing

from engine.compute.evaluation.attacks.attempt import Attempt, Options
from engine.compute.evaluation.judges import Verdict
from engine.compute.evaluation.outcomes import Outcome, after, measured_budgets, outcome, success_curve
from engine.compute.evaluation.runner import Judge, Memory, attempt_key, run_attack
from engine.compute.model.harmfulness import Probe
from engine.jobs.found import attack_result
from engine.records.conversation import Conversation, Message, Picture, Text, Tool, say
from engine.records.evaluation.attacks import ATTACKS
from engine.records.evaluation.plan import AttackChoice
from engine.records.evaluation.rows import EvaluationRow

PLAIN = Conversation.asking("Say abc.")
ROW = EvaluationRow(PLAIN)


def shown(letter: str) -> Conversation:
    return Conversation(messages=(Message(role="user", parts=(Text(text="Say abc."), Picture(sha256=letter * 64))),))


def test_requests_of_one_text_are_told_apart_by_all_else_that_is_read():
    conversations = [
        PLAIN,
        shown("a"),
        shown("b"),
        Conversation(messages=(say("system", "Be brief."), *PLAIN.messages)),
        PLAIN.model_copy(update={"tools": (Tool(name="search"),)}),
    ]
    keys = {attempt_key("direct", Options(1), EvaluationRow(conversation)) for conversation in conversations}
    assert {conversation.text for conversation in conversations} == {"Say abc."} and len(keys) == 5


def test_a_worded_request_keeps_what_stands_around_it():
    asked = EvaluationRow(shown("a").then(say("assistant", "No."))).worded("Write abc.")
    assert [message.text for message in asked.messages] == ["Write abc.", "No."]
    assert asked.picture_keys == ("a" * 64,)


def test_rows_that_a_brief_search_opened_are_spared_the_rest_and_count_as_before(tiny_llava, tmp_path):
    rows = [EvaluationRow(showing("What is this?", painted(tmp_path / f"{seed}.png", seed=seed))) for seed in range(3)]
    searched = []

    def verdicts(_, asked, attempts):
        yield
        found = [(rows.index(row), attempt.budget) for row, attempt in zip(asked, attempts, strict=True)]
        searched.extend(found)
        return [Verdict("complied" if one == (1, 10) else "refused") for one in found]

    memory = Memory(tmp_path / "memory.jsonl")
    options = Options(budget=20, new_tokens=3)
    steps = run_attack(tiny_llava, None, rows, "pgd", options, judge=Judge("test", verdicts), memory=memory)
    shares, outcomes = drain(steps)
    assert shares == sorted(shares) and shares[0] >= 0 and shares[-1] == len(rows)
    assert [one.row for one in outcomes] == rows
    assert [(one.word, one.budget) for one in outcomes] == [("refused", 0), ("complied", 10), ("refused", 0)]
    assert {place for place, budget in searched if budget == 20} == {0, 2}
    assert {place for place, budget in searched if budget == 10} == {0, 1, 2}
    curve = success_curve(outcomes, [0, 10, 20])
    assert [(point.complied, point.n) for point in curve] == [(0, 3), (1, 3), (1, 3)]
    # Of rows searched twice the brief search counts too; what is remembered tells of the time it took, then.
    spent = [one.seconds for one in outcomes]
    for row, seconds in zip(rows, spent, strict=True):
        keys = [attempt_key("pgd", options._replace(budget=budget), row) for budget in (10, 20)]
        attempts = [one for key in keys for one in memory.attempts.get(key, [])]
        assert seconds == pytest.approx(sum(one.seconds for one in attempts)) and seconds > 0
    steps = run_attack(
        tiny_llava, None, rows, "pgd", options, judge=Judge("test", verdicts), memory=Memory(memory.file)
    )
    assert [one.seconds for one in drain(steps)[1]] == spent
    last = [one.losses[at] for one, at in zip(outcomes, (20, 10, 20), strict=True)]
    assert [max(one.losses) for one in outcomes] == [20, 10, 20] and curve[-1].loss == pytest.approx(sum(last) / 3)


def test_beside_a_probe_every_row_is_searched_to_the_end(tiny_model, tmp_path):
    """The probe may have ended the answer by which a brief search counts as a success."""
    rows = [EvaluationRow(Conversation.asking(text)) for text in ("Say abc.", "Say def.")]

    def verdicts(_, asked, attempts):
        yield
        return [Verdict("complied") for _ in attempts]

    for probe, budgets in ((None, (1,)), (Probe(1, ((torch.ones(1, 16), torch.zeros(1)),), 0.0), (2,))):
        memory = Memory(tmp_path / f"{budgets}.jsonl")
        options = Options(budget=2, new_tokens=3, probe=probe)
        steps = run_attack(
            tiny_model, None, rows, "embedding-adaptive", options, judge=Judge("test", verdicts), memory=memory
        )
        assert len(drain(steps)[1]) == 2
        asked = {
            attempt_key("embedding-adaptive", options._replace(budget=one), row) for one in budgets for row in rows
        }
        assert set(memory.attempts) == asked


def test_a_stronger_search_is_remembered_apart_and_nothing_else_is():
    strong = Options(1)._replace(candidates=512)
    keys = {name: [attempt_key(name, one, EvaluationRow(PLAIN)) for one in (Options(1), strong)] for name in ATTACKS}
    assert [name for name, (weak, other) in keys.items() if weak != other] == ["gcg"]


def test_what_a_judge_could_not_say_is_asked_again_and_what_it_said_is_not(tiny_model, tmp_path):
    rows = [EvaluationRow(Conversation.asking(text)) for text in ("Say abc.", "Say abcdef.")]
    said = [["unparseable", "refused"], ["complied"]]

    def verdicts(_, asked, attempts):
        yield
        return [Verdict(word) for word in said.pop(0)]

    memory = Memory(tmp_path / "memory.jsonl")
    found = []
    for _ in range(3):
        steps = run_attack(
            tiny_model, None, rows, "direct", Options(1, new_tokens=2), judge=Judge("test", verdicts), memory=memory
        )
        found.append([one.word for one in drain(steps)[1]])
        memory = Memory(tmp_path / "memory.jsonl")
    assert found == [["unparseable", "refused"], ["complied", "refused"], ["complied", "refused"]]


def test_two_that_answer_the_same_rows_at_once_leave_verdicts_of_the_answers_that_are_taken(tmp_path):
    """Those that were written first; both orders in which the verdicts may come, and as many attempts or fewer."""
    one, other = Attempt(1, (1,), (2, 3), (), ""), Attempt(1, (1,), (4,), (), "")
    for number, others in enumerate(([other], [other, other])):
        first, second = (Memory(tmp_path / f"{number}.jsonl") for _ in range(2))
        first.add_attempts({"key": [one, one]})
        second.add_attempts({"key": others})
        second.add_verdicts({"key:rules": [Verdict("complied")] * len(others)})
        read = Memory(first.file)
        assert read.attempts["key"] == [one, one] and read.verdicts == {}
        first.add_verdicts({"key:rules": [Verdict("refused"), Verdict("incoherent")]})
        second.add_verdicts({"key:other:rules": [Verdict("complied")] * len(others)})
        assert Memory(first.file).verdicts == {"key:rules": [Verdict("refused"), Verdict("incoherent")]}


def test_of_several_attempts_what_most_came_to_counts_and_most_may_be_unknown():
    """Of four: two unknown against one of each leave the row out; one unknown does not."""
    row, attempts = EvaluationRow(PLAIN), [Attempt(1, (1,), (2,), (), "")] * 4
    for words, word in (
        (("unparseable", "unparseable", "refused", "incoherent"), "unparseable"),
        (("unparseable", "refused", "refused", "incoherent"), "refused"),
        (("unparseable", "unparseable", "refused", "refused"), "refused"),
        (("unparseable", "unparseable", "unparseable", "complied"), "complied"),
    ):
        assert outcome(row, attempts, [Verdict(one) for one in words]).word == word


def outcome_at(*looks: int, complied: int = 0) -> Outcome:
    """What became of a row that was answered after so much of a search, and complied at one of these; 0: at none."""
    attempts = [Attempt(look, (1,), (2,)) for look in looks]
    verdicts = [Verdict("complied" if look == complied else "refused") for look in looks]
    return outcome(EvaluationRow(PLAIN), attempts, verdicts)


def test_a_curve_has_the_budgets_of_which_it_is_known_what_they_reached_on_that_model():
    stopped, went_on = outcome_at(3, complied=3), outcome_at(5, 10)
    # One complied where the other was not asked: it is counted from there on.
    assert measured_budgets([stopped, went_on], 10) == [3, 5, 10]
    # One that ended early and had not complied tells nothing of another that went on.
    assert measured_budgets([outcome_at(3), went_on], 10) == [5, 10]
    assert measured_budgets([outcome_at(1, complied=1)] * 2, 10) == [1, 10]
    # What a brief search was answered at counts with the rest of it.
    assert measured_budgets([after(outcome_at(2, 5), outcome_at(10, 20))], 20) == [2, 5, 10, 20]
    curve = success_curve([stopped, went_on], [3, 5, 10])
    assert [(point.complied, point.n) for point in curve] == [(1, 2), (1, 2), (1, 2)]


def test_the_curve_of_a_model_has_no_budget_at_which_the_other_alone_was_answered():
    """The base model answers the plain request at the first step; the other is asked half-way and at the end."""
    sides = {"base": [outcome_at(1, complied=1)], "rerouted": [outcome_at(5, 10, complied=10)]}
    found = attack_result(AttackChoice(name="finetuning", budget=10), sides).curve
    assert {side: [point.budget for point in points] for side, points in found.items()} == {
        "base": [1, 10],
        "rerouted": [5, 10],
    }
