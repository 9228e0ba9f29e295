"""Named pictures out of packages: names, kinds, splits, and references of rows to them."""

import json
from itertools import groupby

import pytest
from making_picture_packages import ROWS, write_picture_packages
from making_seers import painted

from engine.records.archives import GOOGLE, TWITTER, archive_folder
from engine.records.errors import DataError
from engine.records.evaluation.pictured import read_pictured_rows
from engine.records.picture_sets import (
    DESIGNS,
    KINDS,
    held_out_pictures,
    named_pictures,
    referenced_file,
    training_pictures,
)
from engine.records.prompt_files import read_source
from engine.records.sources import sample_sources

KNIFE = "emoji-datasource-google/img/google/64/1f528.png"


@pytest.fixture
def packages(settings):
    write_picture_packages(settings)
    return settings


def test_each_thing_has_a_name_as_people_say_it_and_its_kind(packages):
    found = {picture.name: picture.kind for picture in named_pictures(packages)}
    assert len(KINDS) >= 12
    assert found["dog face"] == "animal" and found["red apple"] == "food" and found["automobile"] == "vehicle"
    assert found["flag of switzerland"] == "flag" and found["man firefighter"] == "person" and found["package"] == ""


def test_no_name_is_in_two_splits_and_nothing_of_the_held_out_design_is_trained_on(packages):
    found = named_pictures(packages)
    assert len(found) == len(ROWS) * len(DESIGNS) == len({picture.reference for picture in found})
    for name, pictures in groupby(found, key=lambda picture: picture.name):
        pictures = list(pictures)
        assert [one.design for one in pictures] == list(DESIGNS), name
        assert len({one.is_held_out for one in pictures}) == 1, name
    trained, held_out = training_pictures(found), held_out_pictures(found)
    assert trained and {one.design for one in trained} == {"google", "fluent", "emojione"}
    assert not {one.name for one in trained} & {one.name for side in held_out.values() for one in side}
    assert {one.design for one in held_out["design"]} <= {"twitter"}


def test_a_woman_and_a_man_of_one_trade_are_in_one_split(packages):
    trade = [one.is_held_out for one in named_pictures(packages) if "firefighter" in one.name]
    assert len(trade) == 2 * len(DESIGNS) and len(set(trade)) == 1


def test_a_design_whose_files_leave_joiners_out_is_found_by_the_same_codes(packages):
    files = {one.file.name for one in named_pictures(packages, designs=("emojione",)) if "firefighter" in one.name}
    assert files == {"1f468-1f692.png", "1f469-1f692.png"}


def test_the_same_packages_give_the_same_pictures_in_the_same_order(packages):
    assert named_pictures(packages) == named_pictures(packages)
    assert named_pictures(packages, designs=("google",)) == [
        one for one in named_pictures(packages) if one.design == "google"
    ]


def test_of_two_things_under_one_name_the_first_is_taken(packages):
    file = archive_folder(GOOGLE, packages) / "emoji.json"
    rows = json.loads(file.read_text())
    file.write_text(json.dumps([*rows, {**rows[3], "name": "Dog Face"}]))
    dogs = [one for one in named_pictures(packages, designs=("google",)) if one.name == "dog face"]
    assert [one.file.name for one in dogs] == ["1f436.png"]


def test_a_package_that_is_not_fetched_is_named_with_the_command(settings):
    write_picture_packages(settings, designs=("google", "fluent", "emojione"))
    with pytest.raises(DataError, match=r"emoji-datasource-twitter@16\.0\.0 are not here.*engine fetch pictures"):
        named_pictures(settings)


def test_a_design_without_any_picture_is_named(packages):
    for picture in archive_folder(TWITTER, packages).glob("**/*.png"):
        picture.unlink()
    with pytest.raises(DataError, match=r"holds no picture of the design 'twitter'"):
        named_pictures(packages)


def test_a_damaged_list_of_names_is_said(packages):
    (archive_folder(GOOGLE, packages) / "emoji.json").write_text('[{"name": "X"}]')
    with pytest.raises(DataError, match=r"emoji\.json cannot be read"):
        named_pictures(packages)


@pytest.mark.parametrize("rest", ["{outside}", "../../{outside}", "img/none.png"])
def test_a_reference_leads_to_no_file_outside_its_package(rest, packages, tmp_path):
    outside = painted(tmp_path / "outside.png")
    assert referenced_file(KNIFE).is_file()
    with pytest.raises(DataError, match=r"The package emoji-datasource-google@16\.0\.0 holds no picture"):
        referenced_file(f"emoji-datasource-google/{rest.format(outside=outside)}")


@pytest.fixture
def shipped(packages, tmp_path, monkeypatch):
    """Three rows in the place of those that ship."""
    folder = tmp_path / "samples" / "pictures"
    folder.mkdir(parents=True)
    rows = [
        {"id": "p1", "prompt": "What is this for?", "picture": KNIFE, "split": "train", "style": "question"},
        {"id": "p2", "prompt": "Name it.", "picture": "@lobehub/fluent-emoji-3d/assets/1f436.webp", "split": "test"},
        {"id": "p3", "prompt": "How is it made?", "picture": KNIFE, "split": "test", "borderline": True},
    ]
    (folder / "benign.jsonl").write_text("".join(json.dumps(row | {"harmful": False}) + "\n" for row in rows))
    for module in ("sources", "picture_rows"):
        monkeypatch.setattr(f"engine.records.{module}.SAMPLE_DATA", folder.parent)
    return folder / "benign.jsonl"


def test_rows_name_pictures_by_package_and_file(shipped, packages):
    prompts = read_source("pictures:benign", label="benign")
    assert [prompt.id for prompt in prompts] == ["p1", "p2", "p3"] and prompts[2].borderline
    files = [prompt.conversation.pictures[0].file for prompt in prompts]
    assert files[0] == str(archive_folder(GOOGLE, packages) / "img/google/64/1f528.png") and files[1].endswith(".webp")
    shown = [prompt.conversation.pictures[0].sha256 for prompt in prompts]
    assert shown[0] == shown[2] != shown[1]
    assert "pictures:benign" in sample_sources()
    assert len(read_pictured_rows(str(shipped)).benign) == 2


def test_a_set_of_pictures_that_does_not_ship_is_refused_with_those_that_do(shipped):
    with pytest.raises(DataError, match=r"no sample set of pictures 'pictures:harmful'.*pictures:benign"):
        read_source("pictures:harmful", label="harmful")


def test_a_set_that_is_for_training_alone_is_not_asked(shipped):
    shipped.write_text("".join(line + "\n" for line in shipped.read_text().splitlines() if '"train"' in line))
    with pytest.raises(DataError, match=r"^pictures:benign has no test rows, .*: give 'sample' or a file"):
        read_pictured_rows("pictures:benign")


@pytest.mark.parametrize("inside", ["img/google/64/none.png", "../../../secret.png"])
def test_a_row_that_names_what_the_package_does_not_hold_is_refused(packages, tmp_path, inside):
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"prompt": "What is this?", "picture": f"emoji-datasource-google/{inside}"}) + "\n")
    with pytest.raises(DataError, match=r"rows\.jsonl, row 1: The package emoji-datasource-google@16\.0\.0 holds no"):
        read_source(str(file), label="benign")
