"""Every other kind of job under a worker of two processes, with whole and with sharded weights: they end as they do
under one, though they know nothing of processes."""

import numpy as np
import pytest
from making import write_prompts
from several import TOLERANCE, begun, spec_of, until, work, working

from engine.records.captures.capture import CaptureRequest, capture_folder, read_capture
from engine.records.captures.projections import TokenRequest, read_token_view, token_file
from engine.records.chats.asked import Column, Sampling
from engine.records.chats.chat import Exchange, new_chat
from engine.records.chats.doses import dose_payload, read_dose_curve
from engine.records.chats.sets import SetRequest, new_set
from engine.records.checkpoints import Checkpoint
from engine.records.harmfulness import need_probes
from engine.records.settings import Settings

pytestmark = pytest.mark.timeout(420)

BASE = Column(checkpoint="base")


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Of 30 benign validation rows 15 are borderline: enough to set a probe's threshold by."""
    folder = tmp_path_factory.mktemp("many")
    return {
        "circuit_breaker": str(write_prompts(folder / "harmful.jsonl", kind="harmful", rows=120)),
        "retain": str(write_prompts(folder / "benign.jsonl", kind="benign", rows=180)),
        "answers": "given",
    }


@pytest.fixture(scope="module")
def expected(folder, many, tmp_path_factory):
    place = tmp_path_factory.mktemp("alone")
    with working(Settings(place / "runs", place / "cache"), 1) as worker:
        return results(worker, folder, many)


@pytest.mark.parametrize("sharded", [False, True])
def test_captures_views_of_tokens_probes_doses_sets_and_chats_end_as_under_one(
    folder, many, expected, tmp_path, sharded
):
    with working(Settings(tmp_path / "runs", tmp_path / "cache"), 2, sharded=sharded) as worker:
        found = results(worker, folder, many)
    assert found.keys() == expected.keys()
    for name, values in found.items():
        np.testing.assert_allclose(values, expected[name], atol=100 * TOLERANCE, err_msg=name)


def results(worker, folder, many):
    run = begun(worker, spec_of(folder, data=many, captures={"final_prompts": 0}))
    until(worker, lambda: run.record().status in ("finished", "failed", "interrupted"))
    assert run.record().status == "finished", run.record().error
    spec, settings = run.spec(), worker.settings
    request = CaptureRequest(
        run_id=run.id, steps=(4, 6), model=spec.model, data=spec.data, splits=("validation",), prompts_per_side=5
    )
    work(worker, "capture", run, request.model_dump(mode="json"))
    capture = read_capture(capture_folder(settings, run.id, request.key))
    assert capture is not None
    asked = TokenRequest(run_id=run.id, key=request.key, prompt_id=capture.index.prompts[0].id, state="step-000006")
    work(worker, "tokens", run, asked.model_dump(mode="json"))
    view = read_token_view(token_file(capture, asked))
    assert view is not None
    work(worker, "fit_probe", run, {"run": run.id, "block": "2", "false_alarms": 0.2})
    probes = need_probes(run, settings, None)
    payload = dose_payload(run, Checkpoint(run.id))
    work(worker, "dose_curve", run, payload)
    curve = read_dose_curve(settings.cards, payload)
    assert curve is not None
    columns = (BASE, Column(checkpoint=run.id), Column(checkpoint=run.id, dose=0.5))
    sampling = Sampling(new_tokens=4)
    answers = new_set(
        settings,
        SetRequest(
            model=spec.model,
            columns=columns,
            source=many["circuit_breaker"],
            label="harmful",
            limit=6,
            sampling=sampling,
        ),
    )
    work(worker, "answer_set", run, {"set": answers.id})
    chat = new_chat(settings, columns)
    number = chat.ask(
        Exchange(model=spec.model, columns=columns, user="harmful request", sampling=sampling, probe="linear")
    )
    work(worker, "chat", run, {"chat": chat.id, "exchange": number})
    reply = chat.reply(number)
    assert reply.answered is not None and not reply.error and len(reply.trips) == 3 and len(reply.verdicts) == 3
    assert len(answers.rows()) == 6
    return {
        "vectors": capture.vectors("step-000006", "response_mean", 2),
        "probe": [probes.probes["rerouted"]["linear"].auc, probes.probes["base"]["linear"].auc],
        "doses": [*curve.harmful, *curve.benign],
        "tokens": [value for row in view.cosine for value in row],
        "trips": [value for trip in reply.trips for cosines in trip.cosines for value in cosines],
        "said": [token for ids in reply.answered.ids for token in ids],
    }
