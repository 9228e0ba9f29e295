"""Pictures that a user gave are kept once, whole, without what else their files said, or refused in a sentence."""

import io

import pytest
from making_seers import painted
from PIL import Image

from engine.records.errors import DataError
from engine.records.kept_pictures import forget_picture, keep_picture, kept_pictures
from engine.records.pictures import image_of, read_picture
from engine.records.settings import read_settings
from workbench.kit.pictures import picture_png


def written(image, kind="PNG", **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def test_the_same_picture_twice_is_one_file_under_its_first_name(settings, tmp_path):
    image = Image.open(painted(tmp_path / "cat.png", size=(20, 12)))
    first = keep_picture(settings, written(image), "cat.png")
    again = keep_picture(settings, written(image, "BMP"), "other.bmp")
    assert again == first and first.name == "cat.png" and (first.width, first.height) == (20, 12)
    # Given as harmful once, it stays so.
    told = [keep_picture(settings, written(image), "cat.png", harmful=harmful).harmful for harmful in (True, False)]
    assert (first.harmful, *told) == (False, True, True) and kept_pictures(settings)[0].harmful
    other = keep_picture(settings, written(Image.new("RGB", (4, 4), "red")), "red.png")
    assert {one.sha256 for one in kept_pictures(settings)} == {first.sha256, other.sha256}
    assert len(list((settings.desk / "pictures").iterdir())) == 4


def test_what_is_kept_is_read_back_as_the_picture_that_was_given(settings, tmp_path):
    file = painted(tmp_path / "cat.png", size=(20, 12))
    kept = keep_picture(settings, file.read_bytes(), "cat.png")
    part = kept.part(settings)
    assert part.sha256 == read_picture(file).sha256 and part.alt == "cat.png"
    assert image_of(part).tobytes() == read_picture(file).image.tobytes()


def test_the_picture_of_an_attack_may_be_larger_than_what_is_uploaded(settings, tmp_path, monkeypatch):
    """Noise hardly packs: of a phone's photograph of half a megabyte an attack makes thirty."""
    content = painted(tmp_path / "cat.png", size=(20, 12)).read_bytes()
    monkeypatch.setattr("engine.records.kept_pictures.MEGABYTE", 1)
    with pytest.raises(DataError, match="at most 25 can be uploaded"):
        keep_picture(settings, content, "cat.png")
    assert keep_picture(settings, content, "cat.png", attack="some").attack == "some"


def test_what_else_the_file_said_is_not_kept(settings):
    image, exif = Image.new("RGB", (8, 6), "blue"), Image.Exif()
    exif[0x010E], exif[0x0112] = "where it was taken", 6
    kept = keep_picture(settings, written(image, "JPEG", exif=exif), "photo.jpg")
    assert (kept.width, kept.height) == (6, 8) and "turned upright" in kept.notes
    assert b"where it was taken" not in (settings.desk / "pictures" / f"{kept.sha256}.png").read_bytes()


def test_transparent_and_animated_pictures_say_what_was_done(settings):
    clear = keep_picture(settings, written(Image.new("RGBA", (4, 4), (0, 0, 0, 0))), "clear.png")
    assert clear.notes == ("transparent parts on white",)
    frames = [Image.new("RGB", (5, 5), colour) for colour in ("red", "green", "blue")]
    moving = keep_picture(settings, written(frames[0], "GIF", save_all=True, append_images=frames[1:]), "moving.gif")
    assert "the first of its 3 frames" in moving.notes


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (b"", "empty.png", r"The file empty\.png is empty"),
        (b"no picture at all", "../../notes.png", r"^notes\.png is no picture: give a file of the kind PNG"),
        (b"\x89PNG\r\n\x1a\n" + b"0" * 40, "torn.png", r"torn\.png"),
        (b"0" * (26 * 2**20), "large.png", r"large\.png has 26 MB, and at most 25 can be uploaded"),
    ],
)
def test_what_is_no_picture_is_refused_and_nothing_is_kept(settings, content, name, said):
    with pytest.raises(DataError, match=said):
        keep_picture(settings, content, name)
    assert kept_pictures(settings) == []


def test_a_picture_of_too_many_pixels_is_refused_by_its_size(settings):
    with pytest.raises(DataError, match=r"huge\.png is too large: 11000 x 10000 are 110,000,000 pixels"):
        keep_picture(settings, written(Image.new("1", (11000, 10000))), "huge.png")


def test_a_damaged_or_deleted_one_is_left_out(settings, tmp_path):
    kept = [
        keep_picture(settings, painted(tmp_path / f"{seed}.png", seed=seed).read_bytes(), f"{seed}.png")
        for seed in range(3)
    ]
    forget_picture(settings, kept[0].sha256)
    (settings.desk / "pictures" / f"{kept[1].sha256}.json").write_text("{")
    assert kept_pictures(settings) == [kept[2]]


def test_a_picture_is_found_where_it_is_kept_now_after_its_folder_was_moved(settings, tmp_path, monkeypatch):
    kept = [keep_picture(settings, written(Image.new("RGB", (4, 4), colour)), "it.png") for colour in ("red", "blue")]
    red, blue = (one.part(settings) for one in kept)
    settings.runs.rename(tmp_path / "moved")
    with pytest.raises(DataError, match="does not exist"):
        image_of(red)
    monkeypatch.setenv("WORKBENCH_RUNS", str(tmp_path / "moved"))
    assert [image_of(one).getpixel((0, 0)) for one in (red, blue)] == [(255, 0, 0), (0, 0, 255)]
    assert picture_png(red, hidden=False) != picture_png(blue, hidden=False)
    forget_picture(read_settings(), red.sha256)
    with pytest.raises(DataError, match="does not exist"):
        picture_png(red, hidden=False)
