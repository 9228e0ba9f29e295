"""The jobs behind the page: a chat, a set and a dose curve on the tiny model; stopping, and what can be wrong."""

import json
import math
import shutil

import pytest
import torch
from making import asked_ids, drain

from engine.compute.model.adapters import adapter_parameters, attach_adapter, has_adapter
from engine.compute.model.text import decode
from engine.device import adapter_name
from engine.jobs import chat as answers_module
from engine.jobs import sets as answer_sets
from engine.jobs.chat import chat_job
from engine.jobs.doses import dose_curve_job
from engine.jobs.sets import answer_set_job
from engine.records.blocks import parse_blocks
from engine.records.chats.asked import Column, Sampling
from engine.records.chats.chat import Exchange, new_chat
from engine.records.chats.doses import DOSES, dose_payload, read_dose_curve
from engine.records.chats.sets import NOT_ASKED, TRIP_THRESHOLD, SetRequest, new_set
from engine.records.checkpoints import Checkpoint, has_weights
from engine.records.conversation import Conversation, Picture
from engine.records.errors import ComputeError, DataError, MemoryShortage, ModelError, RunError
from engine.records.prompt_files import read_source
from engine.records.prompts import Prompt
from workbench.chat.export import chat_markdown

BASE = Column(checkpoint="base")


def ask(settings, run, user="harmful request number 3", **more):
    columns = more.pop("columns", (BASE, Column(checkpoint=run.id)))
    chat = new_chat(settings, columns)
    exchange = Exchange(model=run.spec().model, columns=columns, user=user, sampling=Sampling(new_tokens=12), **more)
    return chat, {"chat": chat.id, "exchange": chat.ask(exchange)}


def test_both_columns_answer_and_their_trips_and_verdicts_are_written(settings, tools, run):
    chat, payload = ask(settings, run, prefill="Sure")
    drain(chat_job(payload, tools))
    reply = chat.reply(0)
    assert reply.answered and [len(ids) for ids in reply.answered.ids] == [12, 12]
    assert reply.answered.ids[0] != reply.answered.ids[1]
    assert [trip.column for trip in reply.trips] == [0, 1]
    for trip in reply.trips:
        assert str(trip.against.checkpoint) == run.id and trip.prefill == 4 and len(trip.pieces) == 16
        lower, upper = trip.cosines
        assert lower == pytest.approx([1.0] * 16, abs=1e-3)
        assert min(upper) < 0.9 and len(upper) == 16
        assert "".join(trip.pieces).startswith("Sure")
    assert [verdict.column for verdict in reply.verdicts] == [0, 1]


def test_the_dose_scales_the_trip_and_none_of_it_is_the_base_model(settings, tools, run):
    columns = tuple(Column(checkpoint=run.id, dose=dose) for dose in (0.0, 0.5, 1.5))
    chat, payload = ask(settings, run, columns=(BASE, *columns))
    drain(chat_job(payload, tools))
    reply = chat.reply(0)
    assert reply.answered and reply.answered.ids[0] == reply.answered.ids[1]
    moved = {trip.column: sum(trip.cosines[1]) / len(trip.cosines[1]) for trip in reply.trips}
    assert moved[1] == pytest.approx(1.0, abs=1e-3) and moved[1] > moved[2] > moved[3]


def test_each_token_is_written_as_it_comes(settings, tools, run):
    chat, payload = ask(settings, run)
    lengths = []
    for _ in chat_job(payload, tools):
        lengths.append(len(chat.reply(0).answers[0]))
    assert set(range(1, 13)) <= set(lengths) and lengths == sorted(lengths)


def test_a_stopped_answer_keeps_what_was_said_and_leaves_no_adapter_on(settings, tools, run, tiny_model):
    chat, payload = ask(settings, run)
    steps = chat_job(payload, tools)
    while not any(chat.reply(0).answers):
        next(steps)
    next(steps)
    steps.close()
    reply = chat.reply(0)
    assert reply.answered and reply.answered.reasons == ("stopped", "stopped")
    assert 0 < len(reply.answered.ids[0]) < 12
    assert not any("forward" in module.__dict__ for module in tiny_model.causal_lm.modules())
    payload["measure"] = True
    drain(chat_job(payload, tools))
    assert len(chat.reply(0).trips) == 2 and chat.reply(0).answered == reply.answered


def test_a_chat_that_is_stopped_while_its_message_is_read_has_no_answer(settings, tools, run, monkeypatch):
    def reading(*_args, **_more):
        while True:
            yield None

    monkeypatch.setattr(answers_module, "answer", reading)
    chat, payload = ask(settings, run)
    steps = chat_job(payload, tools)
    while not chat.reply(0).read:
        next(steps)
    next(steps)
    steps.close()
    reply = chat.reply(0)
    assert reply.answered is None and not reply.error


def test_a_second_turn_is_answered_after_the_first(settings, tools, run):
    chat, payload = ask(settings, run)
    drain(chat_job(payload, tools))
    first = chat.exchange(0)
    number = chat.ask(first.model_copy(update={"turn": 1, "user": "And then?"}))
    drain(chat_job({"chat": chat.id, "exchange": number}, tools))
    assert chat.reply(number).answered and chat.thread() == [0, 1]
    assert chat.conversation(number, 1).messages[1].text == chat.reply(0).text(1)


def test_the_model_in_training_is_asked_as_it_is_at_this_step(settings, tools, run, tiny_model):
    living = adapter_name(run)
    attach_adapter(tiny_model, living, run.spec().adapter, [1], seed=5)
    shutil.rmtree(run.adapter_folder)
    said = []
    for _ in range(2):
        chat, payload = ask(settings, run)
        drain(chat_job(payload, tools))
        said.append(chat.reply(0).answered.ids)
        for _, parameter in adapter_parameters(tiny_model, living, part="lora_B"):
            parameter.data.neg_()
    assert said[0][0] == said[1][0] and said[0][1] != said[1][1]
    assert has_adapter(tiny_model, living)


def test_a_column_that_cannot_be_asked_says_why_and_the_other_answers(settings, tools, run):
    chat, payload = ask(settings, run)
    shutil.rmtree(run.adapter_folder)
    drain(chat_job(payload, tools))
    reply = chat.reply(0)
    assert not reply.error and reply.answered and reply.answered.reasons == ("length", "not asked")
    assert len(reply.answered.ids[0]) == 12 and reply.answered.ids[1] == ()
    assert "it was deleted" in reply.unasked[1] and [reply.is_asked(column) for column in (0, 1)] == [True, False]
    # Compared with nothing: the only breaker was not asked.
    assert reply.trips == () and [verdict.column for verdict in reply.verdicts] == [0]
    assert "no finished adapter" in chat_markdown(chat)
    # The next turn goes on for both once it can be asked again, without an answer that it never gave.
    exchange = chat.exchange(0)
    number = chat.ask(exchange.model_copy(update={"turn": 1, "user": "And then?"}))
    roles = [[message.role for message in chat.conversation(number, column).messages] for column in (0, 1)]
    assert roles == [["user", "assistant", "user"], ["user"]]


def test_where_no_column_can_be_asked_the_chat_says_why(settings, tools, run):
    chat, payload = ask(settings, run, columns=(Column(checkpoint=run.id), Column(checkpoint=run.id, dose=0.5)))
    shutil.rmtree(run.adapter_folder)
    with pytest.raises(RunError, match="no finished adapter"):
        drain(chat_job(payload, tools))
    assert "it was deleted" in chat.reply(0).error


def test_a_run_that_is_prepared_yet_is_said_to_be(settings, tools, run):
    run.update(status="running", step=0)
    shutil.rmtree(run.adapter_folder)
    chat, payload = ask(settings, run)
    drain(chat_job(payload, tools))
    assert "still being prepared: it can be asked from its first step on" in chat.reply(0).unasked[1]
    assert not has_weights(run)


def test_a_column_that_has_said_more_shortens_no_other_answer(settings, tools, run, monkeypatch):
    """The context of the second column has room for three tokens, that of the first for all that were asked for."""
    chat, payload = ask(settings, run)
    limits = {0: 12, 1: 3}
    monkeypatch.setattr(answers_module, "_within_context", lambda _model, _exchange, text: limits[text.column])
    drain(chat_job(payload, tools))
    answered = chat.reply(0).answered
    assert [len(ids) for ids in answered.ids] == [12, 3] and answered.reasons == ("length", "length")
    # It says what it would have said.
    chat, payload = ask(settings, run)
    monkeypatch.undo()
    drain(chat_job(payload, tools))
    assert chat.reply(0).answered.ids[1][:3] == answered.ids[1]


def test_what_fails_along_one_text_takes_no_verdict(settings, tools, run, monkeypatch):
    def breaks_off(*_, **__):
        yield None
        raise RuntimeError("CUDA out of memory")

    chat, payload = ask(settings, run)
    monkeypatch.setattr(answers_module, "trip", breaks_off)
    with pytest.raises(RuntimeError):
        drain(chat_job(payload, tools))
    reply = chat.reply(0)
    assert reply.answered and "out of memory" in reply.error
    assert [verdict.column for verdict in reply.verdicts] == [0, 1]
    monkeypatch.undo()
    drain(chat_job(payload | {"measure": True}, tools))
    assert len(chat.reply(0).trips) == 2 and not chat.reply(0).error


def test_a_message_beyond_the_context_is_refused_and_says_by_how_much(settings, tools, run):
    chat, payload = ask(settings, run, user="x" * 600)
    with pytest.raises(ModelError, match="more than"):
        drain(chat_job(payload, tools))
    assert "tokens" in chat.reply(0).error and "shorten the message" in chat.reply(0).error


def test_a_message_with_a_picture_is_refused_in_the_chat(settings, tools, run):
    chat, payload = ask(settings, run, user="What is this?", parts=(Picture(sha256="a" * 64),))
    with pytest.raises(ModelError, match="shows a picture"):
        drain(chat_job(payload, tools))
    assert "has no vision tower to see it with: choose a model that sees" in chat.reply(0).error


def test_an_answer_ends_where_the_context_ends(settings, tools, run, tiny_model):
    frame = len(asked_ids(tiny_model, "x")) - 1
    chat, payload = ask(settings, run, user="x" * (512 - frame - 5))
    drain(chat_job(payload, tools))
    assert [len(ids) for ids in chat.reply(0).answered.ids] == [5, 5]


def test_a_set_is_answered_by_all_columns_and_goes_on_where_it_was(settings, tools, run, monkeypatch):
    request = SetRequest(
        model=run.spec().model,
        columns=(BASE, Column(checkpoint=run.id)),
        source=run.spec().data.circuit_breaker,
        label="harmful",
        limit=9,
        sampling=Sampling(new_tokens=4),
    )
    monkeypatch.setitem(answer_sets.ROWS, "cpu", 8)
    made = new_set(settings, request)
    steps = answer_set_job({"set": made.id}, tools)
    while not made.rows():
        next(steps)
    steps.close()
    assert 0 < len(made.rows()) < 9
    events, _ = drain(answer_set_job({"set": made.id}, tools))
    progress = [event for event in events if event is not None]
    assert (progress[-1].done, progress[-1].total) == (9, 9)
    rows = made.rows()
    assert [row.prompt_id for row in rows] == [f"harmful-{index}" for index in range(9)]
    assert all(len(row.answers) == len(row.words) == 2 for row in rows)


def test_a_set_whose_file_asks_something_else_by_now_does_not_go_on(settings, tools, run, tmp_path):
    file = tmp_path / "asked.jsonl"

    def write(*texts: str) -> None:
        rows = [{"id": str(number), "prompt": text} for number, text in enumerate(texts)]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))

    write("Say abc.")
    columns = (BASE, Column(checkpoint=run.id))
    request = SetRequest(
        model=run.spec().model, columns=columns, source=str(file), label="benign", sampling=Sampling(new_tokens=2)
    )
    answers = new_set(settings, request)
    drain(answer_set_job({"set": answers.id}, tools))
    write("Say abc.", "Say def.")
    drain(answer_set_job({"set": answers.id}, tools))
    assert [row.prompt for row in answers.rows()] == ["Say abc.", "Say def."]
    write("Say ghi.", "Say def.")
    with pytest.raises(DataError, match=r"1 of its answered rows ask something else by now, the first '0'\. Answer it"):
        drain(answer_set_job({"set": answers.id}, tools))
    assert len(answers.rows()) == 2


def test_rows_of_two_authors_that_are_numbered_alike_are_all_answered_and_told_apart(
    settings, tools, run, monkeypatch, tmp_path
):
    rows = [{"id": "1", "prompt": "first", "author": "Ines"}, {"id": "1", "prompt": "second", "author": "Tomo"}]
    for name, row in zip(("one", "two"), rows, strict=True):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row))
    request = SetRequest(
        model=run.spec().model,
        columns=(BASE,),
        source=f"{tmp_path / 'one.jsonl'}; {tmp_path / 'two.jsonl'} times=2",
        label="benign",
        sampling=Sampling(new_tokens=2),
    )
    monkeypatch.setitem(answer_sets.ROWS, "cpu", 1)
    made = new_set(settings, request)
    steps = answer_set_job({"set": made.id}, tools)
    while not made.rows():
        next(steps)
    steps.close()
    drain(answer_set_job({"set": made.id}, tools))
    assert [(row.prompt_id, row.prompt, row.source) for row in made.rows()] == [
        ("1", "first", "Ines"),
        ("1 (2)", "second", "Tomo"),
        ("1 (3)", "second", "Tomo"),
    ]


def test_a_set_says_what_a_chat_says(settings, tools, run):
    prompt = read_source(run.spec().data.circuit_breaker, label="harmful")[0]
    request = SetRequest(
        model=run.spec().model,
        columns=(BASE, Column(checkpoint=run.id)),
        source=run.spec().data.circuit_breaker,
        label="harmful",
        limit=3,
        sampling=Sampling(new_tokens=12),
    )
    made = new_set(settings, request)
    drain(answer_set_job({"set": made.id}, tools))
    chat, payload = ask(settings, run, user=prompt.text)
    drain(chat_job(payload, tools))
    # A character that the last token only begins is left out of a chat.
    whole = [answer.rstrip("\ufffd") for answer in made.rows()[0].answers]
    assert [chat.reply(0).text(column) for column in range(2)] == whole


def test_the_dose_curve_begins_at_the_base_model_and_moves_with_the_dose(settings, tools, run, tiny_model):
    payload = dose_payload(run, Checkpoint(run.id))
    assert read_dose_curve(settings.cards, payload) is None
    drain(dose_curve_job(payload, tools))
    curve = read_dose_curve(settings.cards, payload)
    assert curve and curve.doses == DOSES and curve.rows > 0
    assert all(map(math.isfinite, (*curve.harmful, *curve.benign)))
    assert curve.harmful[0] != curve.harmful[4] and curve.benign[0] != curve.benign[4]
    # A random model finds each byte about as likely as any other.
    assert curve.harmful[0] == pytest.approx(math.log(len(tiny_model.tokenizer)), rel=0.1)
    assert torch.is_grad_enabled()


def test_a_prompt_that_cannot_be_asked_gets_a_row_that_says_so_and_the_others_answers(settings, tools, run, tmp_path):
    file = tmp_path / "long.jsonl"
    prompts = ["short one", "x" * 600, "short two"]
    file.write_text("".join(json.dumps({"id": str(n), "prompt": text}) + "\n" for n, text in enumerate(prompts)))
    request = SetRequest(
        model=run.spec().model,
        columns=(BASE, Column(checkpoint=run.id)),
        source=str(file),
        label="harmful",
        sampling=Sampling(new_tokens=600),
    )
    made = new_set(settings, request)
    drain(answer_set_job({"set": made.id}, tools))
    rows = {row.prompt_id: row for row in made.rows()}
    assert rows["1"].words == (NOT_ASKED, NOT_ASKED) and "tokens" in rows["1"].reasons[0]
    assert all(word != NOT_ASKED for number in ("0", "2") for word in rows[number].words)
    assert all(rows["0"].answers)


def test_a_prompt_that_is_too_much_for_the_memory_gets_a_row_that_says_so_and_the_others_answers(
    settings, tools, run, monkeypatch
):
    request = SetRequest(
        model=run.spec().model,
        columns=(BASE, Column(checkpoint=run.id)),
        source=run.spec().data.circuit_breaker,
        label="harmful",
        limit=4,
        sampling=Sampling(new_tokens=4),
    )
    whole = answer_sets.by_halves

    def short(model, asks, step, **more):
        if any("number 2" in decode(model, ask.prompt) for ask in asks):
            raise MemoryShortage("Not even one row fits.")
        return (yield from whole(model, asks, step, **more))

    monkeypatch.setattr(answer_sets, "by_halves", short)
    made = new_set(settings, request)
    drain(answer_set_job({"set": made.id}, tools))
    rows = {row.prompt_id: row for row in made.rows()}
    assert len(rows) == 4 and rows["harmful-2"].reasons == ("Not even one row fits.",) * 2
    assert [NOT_ASKED in rows[f"harmful-{n}"].words for n in range(4)] == [False, False, True, False]


def test_a_chat_that_breaks_off_says_so_and_keeps_no_half_answer_as_whole(settings, tools, run, monkeypatch):
    def broken(*_args, **_more):
        yield None
        raise RuntimeError("the device is gone")

    monkeypatch.setattr(answers_module, "answer", broken)
    chat, payload = ask(settings, run)
    with pytest.raises(RuntimeError):
        drain(chat_job(payload, tools))
    reply = chat.reply(0)
    assert reply.answered is None and "RuntimeError" in reply.error
    monkeypatch.undo()
    drain(chat_job(payload, tools))
    assert chat.reply(0).answered and not chat.reply(0).error


def test_a_set_measures_where_each_answer_trips_as_a_chat_does(settings, tools, run):
    request = SetRequest(
        model=run.spec().model,
        columns=(BASE, Column(checkpoint=run.id)),
        source=run.spec().data.circuit_breaker,
        label="harmful",
        limit=2,
        prefill="Sure",
        trips=True,
        sampling=Sampling(new_tokens=12),
    )
    made = new_set(settings, request)
    drain(answer_set_job({"set": made.id}, tools))
    block = parse_blocks(run.spec().blocks.targets, 2)[0]
    for row in made.rows():
        chat, payload = ask(settings, run, user=row.prompt, prefill="Sure")
        drain(chat_job(payload, tools))
        cosines = next(trip for trip in chat.reply(0).trips if trip.column == 1).cosines[block]
        below = [place for place, cosine in enumerate(cosines, 1) if cosine < TRIP_THRESHOLD]
        assert row.trips == (None, below[0] if below else 0)


def test_an_answer_is_measured_while_it_comes_with_the_cosines_that_the_whole_answer_has(settings, tools, run):
    """The first exchange measures the run's spaces behind its answers; the second one knows them."""
    drain(chat_job(ask(settings, run)[1], tools))
    columns = (BASE, Column(checkpoint=run.id))
    chat = new_chat(settings, columns)
    exchange = Exchange(
        model=run.spec().model, columns=columns, user="And?", prefill="Sure", sampling=Sampling(new_tokens=40)
    )
    seen = {}
    for _ in chat_job({"chat": chat.id, "exchange": chat.ask(exchange)}, tools):
        reply = chat.reply(0)
        if reply.turning and not reply.answered:
            seen = {column: len(one.cosines) for column, one in reply.turning.items()}
    reply = chat.reply(0)
    assert set(seen) == {1} and min(seen.values()) >= 32
    trip = next(trip for trip in reply.trips if trip.column == 1)
    live = reply.turning[1]
    assert live.prefill == trip.prefill == 4
    assert live.cosines == pytest.approx(trip.cosines[live.block][: len(live.cosines)], abs=2e-3)
    assert min(live.cosines) < 0.9


def test_a_run_whose_spaces_are_not_known_is_answered_at_once_and_measured_afterwards(settings, tools, run):
    chat, payload = ask(settings, run)
    drain(chat_job(payload, tools))
    assert chat.reply(0).turning == {} and len(chat.reply(0).trips) == 2


def test_ids_that_look_like_those_of_rows_told_apart_stay_apart():
    prompts = [Prompt(id=id, conversation=Conversation.asking(id), label="benign") for id in ("a", "a", "a (2)", "a")]
    assert [one.id for one in answer_sets._told_apart(prompts)] == ["a", "a (3)", "a (2)", "a (4)"]


def test_losses_that_are_no_numbers_are_said_and_make_no_curve(settings, tools, run, monkeypatch):
    def lost(_model, _contexts, answers, **_):
        yield
        return [[math.nan] * len(answer) for answer in answers]

    monkeypatch.setattr("engine.jobs.doses.answer_nats", lost)
    payload = dose_payload(run, Checkpoint(run.id))
    with pytest.raises(ComputeError, match="are no numbers in auto: train and measure it in bfloat16 or float32"):
        drain(dose_curve_job(payload, tools))
    assert read_dose_curve(settings.cards, payload) is None


def test_a_prompt_that_nearly_fills_the_context_shortens_no_other_answer(settings, tools, run, tiny_model, tmp_path):
    most = tiny_model.card.context_length
    long = "x" * (most - len(asked_ids(tiny_model, "")) - 8)
    for name, texts in (("both", ("short", long)), ("alone", ("short",))):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts))
    lengths = {}
    for name in ("both", "alone"):
        request = SetRequest(
            model=run.spec().model,
            columns=(BASE,),
            source=str(tmp_path / f"{name}.jsonl"),
            label="benign",
            sampling=Sampling(new_tokens=30),
        )
        made = new_set(settings, request)
        drain(answer_set_job({"set": made.id}, tools))
        lengths[name] = {row.prompt: row.answers[0] for row in made.rows()}
    assert lengths["both"]["short"] == lengths["alone"]["short"] and len(lengths["both"]) == 2
    assert len(lengths["both"][long]) < len(lengths["both"]["short"])


def test_a_set_asks_as_many_at_once_as_the_memory_holds(settings, tools, run, monkeypatch):
    request = SetRequest(
        model=run.spec().model,
        columns=(BASE, Column(checkpoint=run.id)),
        source=run.spec().data.circuit_breaker,
        label="harmful",
        limit=5,
        sampling=Sampling(new_tokens=2),
    )
    asked = []
    monkeypatch.setattr(answer_sets, "rows_at_once", lambda *_, **__: 4)
    real = answer_sets.answered_ids
    monkeypatch.setattr(
        answer_sets, "answered_ids", lambda model, asks, *more: asked.append(len(asks)) or real(model, asks, *more)
    )
    made = new_set(settings, request)
    drain(answer_set_job({"set": made.id}, tools))
    assert asked == [4, 4, 2] and len(made.rows()) == 5
