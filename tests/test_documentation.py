"""The README is true: its commands parse, its targets and files exist; and every spec field has a place in the form."""

import argparse
import re
import shlex

import pytest
from streamlit.testing.v1 import AppTest

from engine.__main__ import _parser
from engine.records.settings import ROOT
from engine.records.spec import RunSpec, flat
from workbench.train.draft import widget_key

README = (ROOT / "README.md").read_text()
FOLDERS = {"workbench", "pages", "engine", "sample_data", "tests", "benchmarks", "docs"}


@pytest.mark.parametrize("command", re.findall(r"^    python -m engine (.+?)(?:\s+#.*)?$", README, re.M))
def test_every_command_of_the_readme_parses(command):
    assert callable(_parser().parse_args(shlex.split(command)).command)


def test_every_make_target_of_the_readme_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"make ([a-z]+)", README))
    assert {"run", "test", "check", "bench"} <= named <= targets


def test_the_tree_names_what_is_there_and_every_folder_of_code():
    """Each line's place follows from its indentation: two spaces a floor."""
    tree = README.split("## What is where")[1].split("\n\n")[1]
    floors: list[str] = []
    named = set()
    for line in tree.splitlines():
        found = re.match(r"( +)([\w.]+/?) ", line + " ")
        assert found, line
        floor = (len(found[1]) - 4) // 2
        floors[floor:] = [found[2].rstrip("/")]
        path = "/".join(floors)
        assert (ROOT / path).is_dir() if found[2].endswith("/") else (ROOT / path).is_file(), path
        named.add(path)
    code = {
        str(file.parent.relative_to(ROOT))
        for folder in ("engine", "workbench", "pages")
        for file in (ROOT / folder).rglob("*.py")
    }
    within_a_line = {"engine/compute/evaluation/attacks"}
    assert code - within_a_line <= named
    assert {path for path in named if "/" not in path} == FOLDERS


def test_every_picture_and_link_of_the_readme_exists():
    for target in re.findall(r"\]\(([^)h][^)]*)\)", README):
        assert (ROOT / target).exists(), target


def test_the_top_level_folders_are_the_agreed_ones():
    found = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith((".", "_"))}
    assert found - {"runs", "cache", "build"} - {name for name in found if name.endswith(".egg-info")} == FOLDERS


def test_every_spec_field_has_a_place_in_the_form():
    parts = (ROOT / "workbench" / "train" / name for name in ("parts.py", "data.py", "checks.py", "simple.py"))
    text = "".join(path.read_text() for path in parts)
    assert {path for path in flat(RunSpec()) if f'"{path}"' not in text} == set()


def test_the_form_draws_a_widget_for_a_field_and_no_exception(settings, monkeypatch):
    monkeypatch.setattr("engine.desk.launch.ensure_worker", lambda _: None)
    page = AppTest.from_file(str(ROOT / "pages" / "train.py"), default_timeout=60).run()
    assert not page.exception
    assert page.selectbox(key=widget_key("model.name")).value == RunSpec().model.name


def test_every_command_and_option_of_the_command_line_is_in_the_documents():
    text = README + (ROOT / "docs" / "command-line.md").read_text()
    commands = next(action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction)).choices
    assert len(commands) >= 10
    for name, command in commands.items():
        assert re.search(rf"`{name}\b", text), name
        section = re.search(rf"^\| `{name}\b.*?(?=^\| `|\Z)", text, re.M | re.S)
        assert section, name
        for action in command._actions:
            for option in action.option_strings:
                if option.startswith("--") and option not in ("--help", "--runs"):
                    assert f"`{option}`" in section[0], f"{name} {option}"


def test_every_link_of_the_documents_leads_somewhere():
    for file in (ROOT / "docs").rglob("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", file.read_text()):
            assert (file.parent / target).exists(), f"{file.name}: {target}"
