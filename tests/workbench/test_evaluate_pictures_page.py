"""An evaluation of requests that show pictures, on Evaluate: a block of its own beside the paper's figures, nothing is
claimed of texts, and harmful answers stay hidden."""

from dataclasses import replace
from pathlib import Path

from making_seers import painted
from test_evaluate_agents import drawn, made_run, words

from engine.exports.evaluation_report import report_html
from engine.figures.evaluation.findings import asked_text, requests_asked
from engine.figures.evaluation.fronts import budget_figures, loss_figures, of_pictures
from engine.figures.evaluation.pictures import pictures_finding, pictures_html
from engine.records.evaluation.counts import CurvePoint, Side
from engine.records.evaluation.findings import (
    AttackResult,
    Evaluation,
    PictureFindings,
    Sample,
    evaluations_folder,
    write_evaluation,
)
from engine.records.evaluation.perturbed import perturbation_path
from engine.records.evaluation.pixels import PixelSearch
from engine.records.pictures import picture_at
from workbench.evaluate.csv_text import as_csv

__all__ = ["drawn"]


CURVE: dict[Side, tuple[CurvePoint, ...]] = {
    "base": tuple(CurvePoint(budget=b, complied=c, n=20, loss=x) for b, c, x in ((0, 10, 3.0), (100, 18, 1.5))),
    "rerouted": tuple(CurvePoint(budget=b, complied=c, n=20, loss=x) for b, c, x in ((0, 2, 9.0), (100, 4, 6.25))),
}


def pictures_alone(name: str = "one") -> Evaluation:
    found = PictureFindings(
        source="seen.jsonl",
        judge="rules",
        attacks={
            "direct": AttackResult(base=words(10), rerouted=words(2)),
            "pgd": AttackResult(base=words(18), rerouted=words(4), budget=100, curve=CURVE),
        },
        benign={"base": words(16), "rerouted": words(15)},
    )
    return Evaluation(key=name, run=name, pictures=found)


def test_the_table_shows_pictures_beside_the_papers_own_figures():
    html = pictures_html([pictures_alone()], ["my run"])
    assert "50.0 %" in html and "10.0 %" in html and "80 % of base" in html and "94 % of base" in html
    assert "77.4 → 2.3 %" in html and "91 → 14.3 %" in html and "100 steps" in html
    assert pictures_html([Evaluation(key="k", run="r")], ["text alone"]) == ""


def test_the_sentence_names_the_strongest_attack_on_pictures_and_what_was_kept():
    assert pictures_finding(pictures_alone()) == (
        "Harmful requests that show a picture answered: 90 → 20 % under the strongest attack (pixels (pgd), n 20); "
        "benign ones answered: 80 → 75 % (n 20)."
    )
    assert pictures_finding(Evaluation(key="k", run="r")) == ""


def test_two_evaluations_share_a_base_column_and_the_csv_has_their_rows():
    two = [pictures_alone("a"), pictures_alone("b")]
    assert pictures_html(two, ["a", "b"]).count("<th>base") == 1
    rows = as_csv(two, ["a", "b"]).splitlines()
    assert sum("pictures: pgd" in row for row in rows) == 4 and sum("pictures: benign" in row for row in rows) == 4


def test_what_was_asked_is_told_of_pictures():
    one = pictures_alone()
    assert requests_asked(one) == 20 and not asked_text(one)
    report = report_html([one], ["one"])
    assert "<h2>Pictures</h2>" in report and "pixels (pgd), n 20" in report
    assert "n 20, seen.jsonl" in report and "rows that show pictures seen.jsonl" in report


def test_the_page_opens_and_hides_harmful_answers_to_pictures(settings, drawn):
    run = made_run(settings)
    samples = [
        Sample(attack=f"pictures: {name}", side=side, prompt="what was asked", answer="what was said", word="complied")
        for side in ("base", "rerouted")
        for name in ("direct", "pgd")
    ]
    write_evaluation(run, settings, pictures_alone(run.id), samples)
    page = drawn()
    assert not page.exception and not page.error
    shown = " ".join(one.value for one in (*page.markdown, *page.subheader, *page.caption)).replace("\\", "")
    assert "Harmful requests with pictures that were answered" in shown and "pixels (pgd), n 20" in shown
    assert "what was said" not in shown and "what was asked" not in shown


def test_the_picture_of_a_request_stands_beside_its_answer_hidden_with_it(settings, drawn, tmp_path, monkeypatch):
    """Two pictures under one question are two samples that can be told apart; one that is gone says so."""
    run, parts = made_run(settings), [picture_at(painted(tmp_path / f"{seed}.png", seed=seed)) for seed in range(2)]
    samples = [
        Sample(attack="pictures: direct", side="rerouted", prompt="?", pictures=(one,), answer="a", word="complied")
        for one in parts
    ]
    write_evaluation(run, settings, pictures_alone(run.id), samples)
    Path(parts[0].file).unlink()
    assert "0.png does not exist" in " ".join(one.value for one in drawn().caption).replace("\\", "")
    seen: list[tuple[str, bool]] = []
    see = "workbench.evaluate.samples.harmful_picture"
    monkeypatch.setattr(see, lambda picture, *, hidden, edge: seen.append((picture.sha256, hidden)))
    page = drawn()
    assert seen == [(one.sha256, True) for one in parts]
    seen.clear()
    next(one for one in page.button if one.label.startswith("Reveal")).click().run()
    assert seen == [(one.sha256, False) for one in parts]


def test_curves_begin_where_the_search_does_and_tell_what_is_left_of_the_targets_loss():
    two = [pictures_alone("a"), pictures_alone("b")]
    [share] = budget_figures(two, ["a", "b"], asked=of_pictures).values()
    base, first, second = share.data
    assert (list(base.x), list(base.y)) == ([0, 100], [50, 90])
    assert list(first.y) == list(second.y) == [10, 20]
    [loss] = loss_figures(two, ["a", "b"]).values()
    assert [(line.name, list(line.y)) for line in loss.data] == [("base", [3, 1.5]), ("a", [9, 6.25]), ("b", [9, 6.25])]
    assert "at the end base 1.50, a 6.25, b 6.25" in loss.layout.title.text
    assert not budget_figures(two, ["a", "b"]) and not loss_figures([Evaluation(key="k", run="r")], ["text alone"])
    assert "nats a token" in report_html(two, ["a", "b"])


def test_bases_that_differ_have_a_column_and_a_curve_of_their_own_and_the_title_leaves_the_base_open():
    one, other = pictures_alone("a"), pictures_alone("b")
    assert one.pictures is not None and other.pictures is not None
    # The same under attack, but another count of borderline requests: these are another base's figures.
    asked = {"base": words(19), "rerouted": words(12)}
    apart = other.model_copy(update={"pictures": other.pictures.model_copy(update={"borderline": asked})})
    html = pictures_html([one, apart], ["a", "b"])
    assert "<th>base<" in html and "<th>base of b<" in html
    assert "base of b" not in pictures_html([one, other], ["a", "b"])

    harder = {"base": (CurvePoint(budget=100, complied=6, n=20, loss=4.0),), "rerouted": CURVE["rerouted"]}
    pgd = AttackResult(base=words(6), rerouted=words(4), budget=100, curve=harder)
    attacks = other.pictures.attacks | {"pgd": pgd}
    apart = other.model_copy(update={"pictures": other.pictures.model_copy(update={"attacks": attacks})})
    [share] = budget_figures([one, apart], ["a", "b"], asked=of_pictures).values()
    assert [line.name for line in share.data] == ["base", "a", "base of b", "b"]
    assert list(share.data[0].y) == [50, 90] and list(share.data[2].y) == [30]
    assert "answered 30 to 90 → 20 %" in share.layout.title.text
    [loss] = loss_figures([one, apart], ["a", "b"]).values()
    assert [line.name for line in loss.data] == ["base", "a", "base of b", "b"]


def test_perturbations_that_came_with_a_run_are_found_beside_its_figures(settings, monkeypatch):
    run = made_run(settings)
    assert perturbation_path(run, settings, "one.png") == evaluations_folder(run, settings) / "one.png"
    packed = replace(run, folder=run.folder.parent / "shipped" / run.id)
    monkeypatch.setattr("engine.records.runs.SAMPLE_DATA", packed.folder.parent)
    # What is asked of a run that ships is kept elsewhere, and only what came with it lies beside its figures.
    assert evaluations_folder(packed, settings) != packed.folder / "evaluations"
    (packed.folder / "evaluations").mkdir(parents=True)
    painted(packed.folder / "evaluations" / "one.png", seed=1)
    assert perturbation_path(packed, settings, "one.png") == packed.folder / "evaluations" / "one.png"
    assert perturbation_path(packed, settings, "two.png") == evaluations_folder(packed, settings) / "two.png"


def test_what_was_made_for_all_pictures_is_shown_with_its_file_to_save(settings, drawn):
    run = made_run(settings)
    names: dict[Side, tuple[str, ...]] = {"base": ("one.png", "two.png"), "rerouted": ("three.png", "gone.png")}
    found = pictures_alone(run.id)
    assert found.pictures is not None
    made = found.pictures.model_copy(update={"perturbations": {"pgd-universal": names}, "pixels": PixelSearch()})
    write_evaluation(run, settings, found.model_copy(update={"pictures": made}), [])
    for seed, name in enumerate(("one.png", "two.png", "three.png")):
        painted(evaluations_folder(run, settings) / name, seed=seed)
    page = drawn()
    assert not page.exception and not page.error
    assert sum(one.label == "PNG" for one in page.get("download_button")) == 3
    shown = " ".join(one.value for one in (*page.markdown, *page.subheader, *page.caption)).replace("\\", "")
    assert "Pixels, one for all (PGD)" in shown and "gone.png" in shown and "success against budget" in shown
