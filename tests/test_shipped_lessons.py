"""Every figure that a lesson names is read off the records of the run that ships, or says where it was measured."""

import json
import math

import numpy as np
import pytest

from engine.compute.geometry.maps import examine, make_map
from engine.compute.geometry.separation import top_energy
from engine.records.captures.capture import BASE, TRAINING, run_captures
from engine.records.captures.projections import (
    ExaminationRequest,
    ProjectionRequest,
    projection_file,
    read_examination,
    read_projection,
)
from engine.records.captures.tables import movement_table
from engine.records.evaluation.findings import read_evaluations
from engine.records.lessons.checking import run_named
from engine.records.lessons.lesson import Answer, RunExists
from engine.records.lessons.reading import curves_file, read_lessons
from engine.records.prompt_files import read_source
from engine.records.settings import ROOT
from engine.records.spec_text import build_spec
from workbench.learn.figures import heldout_figure
from workbench.learn.words import check_words, view_words


@pytest.fixture
def shipped(settings, monkeypatch):
    monkeypatch.delenv("WORKBENCH_SHIPPED_RUNS")
    return run_named("shipped", settings)


@pytest.fixture
def captures(shipped, settings):
    return {one.index.key: one for one in run_captures(settings, shipped.id)}


@pytest.fixture
def final(captures):
    """What was captured of the finished adapter, which most lessons open."""
    (key,) = captures.keys() - {TRAINING}
    return captures[key]


@pytest.fixture
def lessons(settings):
    return read_lessons(settings)


def says(lessons, unit: str, *words: str) -> None:
    """The unit's file says all of these, whatever its line breaks."""
    text = " ".join(lessons.named(unit).file.read_text().split())
    assert [one for one in words if one not in text] == []


def answer(lessons, unit: str, step: str) -> float:
    check = next(one.check for one in lessons.named(unit).unit.steps if one.id == step)
    assert isinstance(check, Answer) and check.number is not None
    return check.number


def percent(count) -> str:
    return f"{100 * count.rate:.0f} %"


def test_what_an_activation_is(lessons, final):
    vectors = final.vectors(BASE, "response_mean", 19)
    mean, deviation = final.space(19)

    def alike(found: np.ndarray) -> str:
        units = found / np.linalg.norm(found, axis=1, keepdims=True)
        return f"{(units @ units.T)[np.triu_indices(len(units), 1)].mean():.2f}"

    index = final.index
    says(lessons, "activations", f"has {index.block_count} blocks, and its activations have {index.d_model} numbers")
    says(lessons, "activations", f"hold {100 * top_energy(vectors):.0f} %", f"{len(index.prompts)} dots")
    says(lessons, "activations", f"is {alike(vectors)},", f"is then {alike((vectors - mean) / deviation)},")
    cosine = final.measure(final.index.checkpoints[-1], "cosine", 19, "answer")
    groups = np.array([prompt.group for prompt in index.prompts])
    harmful, everyday, borderline = (cosine[groups == one].mean() for one in ("harmful", "benign", "borderline"))
    says(lessons, "activations", f"of {harmful:.2f}, everyday ones {everyday:.2f}", f"sound harmful, {borderline:.2f}")
    raw = final.measure(final.index.checkpoints[-1], "raw_cosine", 19, "answer")
    says(lessons, "activations", f"harmful answers is still {raw[groups == 'harmful'].mean():.2f},")


def test_reading_a_concept(lessons, captures, final):
    index = final.index
    about = {"run_id": index.run_id, "key": index.key, "digest": index.digest}
    figures = {}
    for method in ("difference", "probe"):
        request = ProjectionRequest(**about, checkpoints=(BASE,), block=19, method=method)
        make_map(final.folder, request)
        figures[method] = read_projection(projection_file(final, request)).figures[BASE]
    difference, probe = figures["difference"], figures["probe"]
    says(lessons, "reading-a-concept", f"reaches {difference.map_auc:.2f} on the half", f"reaches {probe.map_auc:.2f}.")
    says(lessons, "reading-a-concept", f"an AUC of {probe.auc:.2f}.", f"reaches {probe.auc_borderline:.2f}.")
    assert answer(lessons, "reading-a-concept", "shuffled") == round(difference.shuffled_auc, 2)
    training = captures[TRAINING].index
    request = ExaminationRequest(run_id=training.run_id, key=training.key, digest=training.digest)
    found = read_examination(examine(captures[TRAINING].folder, request))
    aucs, chances = [one.auc for one in found.blocks], [one.auc_chance for one in found.blocks]
    says(lessons, "reading-a-concept", f"between {min(aucs):.2f} and {max(aucs):.2f}")
    says(lessons, "reading-a-concept", f"reach {min(chances):.2f} to {max(chances):.2f}")
    says(lessons, "reading-a-concept", f"{found.harmful} harmful and {found.benign} plain benign prompts")
    chance = sum(one.auc <= one.auc_chance + 1e-9 for one in found.blocks)
    says(lessons, "reading-a-concept", f"at {chance} of the {len(aucs)} blocks it found no more than chance does")
    best = max(found.blocks, key=lambda one: one.auc)
    says(lessons, "reading-a-concept", f"At block {best.block} the dot stands highest, at {best.auc:.2f}.")
    assert sum(one.auc == best.auc for one in found.blocks) == 1
    says(lessons, "reading-a-concept", f"even {best.auc:.2f} may be {best.auc_low:.2f}")
    assert sum(one.auc > best.auc_low for one in found.blocks) > len(found.blocks) / 2, "most dots lie within its band"


def test_where_harm_lives(lessons, captures, final):
    table = movement_table(captures[TRAINING])
    says(
        lessons,
        "where-harm-lives",
        f"the thick one of {sum(one.label == 'harmful' for one in captures[TRAINING].index.prompts)}.",
    )
    last = table[(table["step"] == table["step"].max()) & (table["group"] == "harmful")].set_index("block")["cosine"]
    first = int(last[last < 0.5].index[0])
    assert answer(lessons, "where-harm-lives", "by-block") == first == 18
    says(lessons, "where-harm-lives", f"{last[17]:.2f} at block 17 and {last[18]:.2f} at block 18")
    cosine = final.measure(final.index.checkpoints[-1], "cosine", 19, "answer")
    groups = np.array([prompt.group for prompt in final.index.prompts])
    turned = {one: (int((groups == one).sum()), int((cosine[groups == one] < 0.5).sum())) for one in set(groups)}
    says(
        lessons, "where-harm-lives", "Of {} harmful answers that were not trained on, {} are".format(*turned["harmful"])
    )
    says(lessons, "where-harm-lives", "Of {} borderline ones it is {}".format(*turned["borderline"]))
    assert turned["benign"][1] == 0
    says(lessons, "where-harm-lives", f"of {turned['benign'][0]} everyday ones none")


def test_rerouting(lessons, shipped):
    events = shipped.events()[0]
    steps = [event for event in events if event.kind == "step"]
    weighs = next(event.step for event in steps if event.retain_weight > 0)
    assert weighs in (120, 121) and 19 < max(event.retain_loss for event in steps) < 21
    says(lessons, "rerouting", f"first 120 of {len(steps):,} steps", "climbs to about 20")
    heldout = {(event.step, event.split): event for event in events if event.kind == "heldout"}
    early, late, test = heldout[800, "validation"], heldout[len(steps), "validation"], heldout[len(steps), "test"]
    says(lessons, "rerouting", f"is {early.mean_cosine:.2f}.", f"{early.harmful_rows} harmful and {early.benign_rows}")
    drawn = next(line for line in heldout_figure(events).data if line.name == "benign")
    assert answer(lessons, "rerouting", "held-out") == round(dict(zip(drawn.x, drawn.y, strict=True))[800], 2)
    assert drawn.y[-1] == late.benign_cosine["19"]
    says(
        lessons,
        "rerouting",
        f"it is {late.benign_cosine['19']:.2f} there.",
        f"split it is {test.benign_cosine['19']:.2f}.",
    )
    answers = [event.benign_answer_cosine["19"] for event in (early, late)]
    says(lessons, "rerouting", "without borderline rows, it is {:.2f} and {:.2f}.".format(*answers))
    says(lessons, "rerouting", f"acts {shipped.spec().adapter.strength} times as strongly")
    decision = (ROOT / "docs" / "decisions" / "0013-quick.md").read_text()
    assert all(f"| {seed} | {cosine} |" in decision for seed, cosine in ((0, "0.29"), (1, "0.40"), (2, "0.44")))


def test_attacks_and_costs(lessons, shipped, settings):
    asked = [one for one in read_evaluations(shipped, settings) if one.attacks]
    large, many, *few = sorted(asked, key=lambda one: -max(result.base.n for result in one.attacks.values()))
    direct, prefill = large.attacks["direct"], large.attacks["prefill"]
    base, broken = direct.base, direct.rerouted
    says(lessons, "attack-it", f"asked {base.n} requests", f"complied with {base.complied} of them ({percent(base)})")
    says(lessons, "attack-it", f"with {broken.complied} ({percent(broken)})", f"{prefill.rerouted.complied} of the 221")
    says(lessons, "attack-it", f"with {prefill.base.complied} of them, {percent(prefill.base)}")
    assert answer(lessons, "attack-it", "rates") == round(100 * prefill.rerouted.rate)
    assert {one.base.n for one in many.attacks.values()} == {100} and len(many.attacks) == 8
    through = {name: one.rerouted.complied for name, one in many.attacks.items()}
    rows = {
        "finetuning": "few-step fine-tuning",
        "templates": "jailbreak templates",
        "prefill": "| prefilling",
        "direct": "| direct request",
        "many-turns": "many turns",
        "steering": "| steering",
        "best-of-n": "best of n",
        "encodings": "encodings",
    }
    assert rows.keys() == through.keys()
    for name, words in rows.items():
        broken = f"**{through[name]}**" if name in ("finetuning", "templates") else through[name]
        says(lessons, "attack-it", f"{words} | {many.attacks[name].base.complied} | {broken} | 100 |")
    strongest = many.attacks["finetuning"]
    assert through["finetuning"] == max(through.values()) == answer(lessons, "attack-it", "strongest")
    low, high = (f"{100 * share:.0f}" for share in (strongest.rerouted.ci95.low, strongest.rerouted.ci95.high))
    says(lessons, "attack-it", f"complies with {strongest.base.complied} of them", f"interval is {low} to {high} %")
    searches = {name: one for found in few for name, one in found.attacks.items()}
    assert searches.keys() == {"embedding", "direct", "embedding-adaptive", "gcg"}
    for name, words in (
        ("embedding", "| embedding"),
        ("gcg", "| GCG"),
        ("embedding-adaptive", "| embedding, adaptive"),
    ):
        one = searches[name]
        broken = f"**{one.rerouted.complied}**" if name == "embedding-adaptive" else one.rerouted.complied
        says(lessons, "attack-it", f"{words} | {one.base.complied} | {broken} | {one.base.n} |")
    adaptive = searches["embedding-adaptive"].rerouted
    low, high = (f"{100 * share:.0f}" for share in (adaptive.ci95.low, adaptive.ci95.high))
    says(
        lessons, "attack-it", f"got {adaptive.complied} of {adaptive.n} requests through ({percent(adaptive)}, interval"
    )
    says(lessons, "attack-it", f"interval {low} to {high} %).")
    assert searches["embedding"].base.complied < searches["direct"].base.complied, "less than a direct request gets"
    says(lessons, "attack-it", f"of 100 behind templates {through['templates']}.")
    kept = {"harmless": large.benign_answers} | {one.name: one.counts for one in large.abilities}
    for name in ("harmless", "borderline"):
        for side in ("base", "rerouted"):
            says(lessons, "what-it-costs", f"{kept[name][side].complied} ({percent(kept[name][side])})")
    borderline = kept["borderline"]
    fall = round(100 * borderline["base"].rate) - round(100 * borderline["rerouted"].rate)
    assert answer(lessons, "what-it-costs", "kept") == fall
    change = next(one.change for one in large.abilities if one.name == "borderline")
    low, high = (f"{100 * points:.0f}" for points in (change.ci95.low, change.ci95.high))
    says(lessons, "what-it-costs", f"**paired** change is {low} to {high} points")
    targets = many.loss["benign"].targets
    says(lessons, "what-it-costs", f"Of {targets.n} benign answers", f"{targets.lost} are lost wholly")
    says(lessons, "what-it-costs", f"went from {targets.rest['base']:.2f} to {targets.rest['rerouted']:.2f}:")
    benign, harmful = large.loss["benign"], large.loss["harmful"]
    says(lessons, "what-it-costs", f"from {benign.base:.2f} to {benign.rerouted:.2f} nats a token")
    says(lessons, "what-it-costs", f"from {harmful.base:.2f} to {harmful.rerouted:.2f}.")
    mmlu = next(one for one in large.abilities if one.name == "mmlu")
    says(lessons, "what-it-costs", f"{mmlu.n} questions", f"has {100 * mmlu.base:.0f} % of them right")


def test_recorded_curves_are_whole_and_say_what_the_texts_say(lessons):
    steered = json.loads((curves_file(lessons.named("steering"), "steering.json")).read_text())
    at = {curve["name"]: dict(zip(curve["steps"], curve["values"], strict=True)) for curve in steered["curves"]}
    assert answer(lessons, "steering", "cost") == at["block 24"][3]
    says(lessons, "steering", f"of 3 makes it {at['block 15'][3]}", f"makes it {at['block 19'][3]}")
    for lesson in lessons.units:
        for step in lesson.unit.steps:
            if step.figure is not None and step.figure.file:
                content = json.loads(curves_file(lesson, step.figure.file).read_text())
                assert content["about"].startswith("Measured once: ")
                assert all(math.isfinite(value) for curve in content["curves"] for value in curve["values"])


def test_what_views_and_checks_name_is_there(lessons, captures):
    prompts = {one.id for label in ("harmful", "benign") for one in read_source(f"sample:{label}", label=label)}
    assert lessons.problems == [] and [one.unit.order for one in lessons.units] == list(range(1, 9))
    for lesson in lessons.units:
        for step in lesson.unit.steps:
            said = step.view.settings if step.view else {}
            assert said.get("prompt", "h-cybercrime-question-1") in prompts
            assert said.get("capture", TRAINING) in captures
            assert said.get("steer_capture", f"shipped/{TRAINING}").partition("/")[2] in captures
            if step.view is not None:
                assert view_words(step.view)
            assert check_words(step.check).endswith(".")


def test_the_run_that_a_step_asks_for_is_one_that_its_view_trains(lessons):
    steps = {step.id: step for step in lessons.named("quiet-failures").unit.steps}
    step = steps["fail-yourself"]
    assert isinstance(step.check, RunExists)
    assert all(step.view.settings[name] == str(value) for name, value in step.check.settings.items())
    assert build_spec({"optimizer": {"steps": 40}}).optimizer.steps == 40
