"""Picture files become upright RGB, or are refused in words."""

import io
import os
from pathlib import Path

import numpy
import pytest
from PIL import Image

from engine.records import pictures
from engine.records.conversation import Picture
from engine.records.errors import DataError
from engine.records.pictures import image_of, picture_at, read_picture, scratch_folder


def halves(mode: str = "RGB", size: tuple[int, int] = (8, 4)) -> Image.Image:
    """The left half red, the right one blue: turning it is seen."""
    image = Image.new("RGB", size, "red")
    image.paste("blue", (size[0] // 2, 0, *size))
    return image.convert(mode)


def saved(image: Image.Image, file: Path, **options) -> Path:
    image.save(file, **options)
    return file


def test_a_picture_is_its_pixels_whatever_file_they_lie_in(tmp_path):
    first = picture_at(saved(halves(), tmp_path / "a.png"))
    again = picture_at(saved(halves(), tmp_path / "b.bmp"))
    other = picture_at(saved(halves(size=(4, 8)), tmp_path / "c.png"))
    assert first.sha256 == again.sha256 != other.sha256
    assert image_of(again).tobytes() == halves().tobytes()


def test_a_file_that_holds_another_picture_by_now_is_refused(tmp_path):
    file = saved(halves(), tmp_path / "a.png")
    picture = picture_at(file)
    saved(halves(size=(4, 8)), file)
    os.utime(file, ns=(1, 1))
    with pytest.raises(DataError, match="holds another picture than the one that was asked about"):
        image_of(picture)
    assert picture_at(file).sha256 != picture.sha256


def test_a_picture_of_no_file_is_refused():
    with pytest.raises(DataError, match="Nothing says where the picture aaaaaaaaaaaa lies"):
        image_of(Picture(sha256="a" * 64))


@pytest.mark.parametrize("content", [b"", b"no picture", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"])
def test_what_is_no_picture_is_refused(tmp_path, content):
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.png is no picture: give a file of the kind PNG, JPEG"):
        read_picture(tmp_path / "x.png")


def test_a_missing_file_is_named(tmp_path):
    for read in (read_picture, picture_at):
        with pytest.raises(DataError, match=r"gone\.png does not exist: check the path"):
            read(tmp_path / "gone.png")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_a_file_that_breaks_off_is_refused(tmp_path, kind):
    noise = Image.fromarray(numpy.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=numpy.uint8))
    stream = io.BytesIO()
    noise.save(stream, kind)
    (tmp_path / "half").write_bytes(stream.getvalue()[: len(stream.getvalue()) // 2])
    with pytest.raises(DataError, match=r"half (is damaged|is no picture)|picture half is damaged"):
        read_picture(tmp_path / "half")


def test_of_an_animation_the_first_frame_is_taken_and_said(tmp_path):
    file = tmp_path / "film.gif"
    halves().save(file, save_all=True, append_images=[Image.new("RGB", (8, 4), one) for one in ("green", "white")])
    read = read_picture(file)
    assert read.notes == ("the first of its 3 frames",)
    assert read.image.getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_lies_on_white(tmp_path, mode):
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0)).convert(mode)
    options = {"transparency": 0} if mode == "P" else {}
    read = read_picture(saved(clear, tmp_path / "clear.png", **options))
    assert read.image.getpixel((1, 1)) == (255, 255, 255) and read.notes == ("transparent parts on white",)


def test_grey_sixteen_bits_and_print_colours_become_rgb(tmp_path):
    grey = read_picture(saved(Image.new("L", (4, 4), 77), tmp_path / "grey.png"))
    assert grey.image.getpixel((0, 0)) == (77, 77, 77) and grey.notes == ()
    levels = numpy.full((4, 4), 0x8012, dtype=numpy.uint16)
    deep = read_picture(saved(Image.fromarray(levels), tmp_path / "deep.png"))
    assert deep.image.getpixel((0, 0)) == (0x80, 0x80, 0x80) and deep.notes == ("16 bits as 8",)
    printed = read_picture(saved(halves("CMYK"), tmp_path / "print.jpg", quality=100))
    red, _, blue = printed.image.getpixel((0, 0))
    assert printed.image.mode == "RGB" and red > 200 > 60 > blue


def test_of_sixteen_bits_one_level_may_be_clear_and_lab_has_no_clear_parts(tmp_path):
    levels = numpy.array([[40000, 40001]], dtype=numpy.uint16)
    read = read_picture(saved(Image.fromarray(levels), tmp_path / "clear.png", transparency=40000))
    assert [read.image.getpixel((place, 0)) for place in range(2)] == [(255,) * 3, (156,) * 3]
    assert read.notes == ("16 bits as 8", "transparent parts on white")
    lab = read_picture(saved(Image.new("LAB", (4, 4), (128, 128, 128)), tmp_path / "lab.tiff"))
    assert lab.notes == () and lab.image.mode == "RGB"


def test_whole_numbers_of_32_bits_have_no_known_range(tmp_path):
    with pytest.raises(DataError, match="no known range"):
        read_picture(saved(Image.new("I", (4, 4), 100), tmp_path / "i.tiff"))


def test_floats_have_no_known_range(tmp_path):
    with pytest.raises(DataError, match="no known range"):
        read_picture(saved(Image.new("F", (4, 4)), tmp_path / "f.tiff"))


@pytest.mark.parametrize(("orientation", "left"), [(1, "red"), (2, "blue"), (3, "blue")])
def test_a_picture_is_turned_as_its_camera_says(tmp_path, orientation, left):
    exif = Image.Exif()
    exif[0x0112] = orientation
    read = read_picture(saved(halves(), tmp_path / "turned.png", exif=exif))
    assert read.image.getpixel((0, 0)) == {"red": (255, 0, 0), "blue": (0, 0, 255)}[left]
    assert read.notes == (() if left == "red" else ("turned upright",))


def test_a_picture_on_its_side_stands_up(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read_picture(saved(halves(), tmp_path / "side.png", exif=exif)).image.size == (4, 8)


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_fifty_megapixels_are_made_smaller(tmp_path, ending):
    file = saved(Image.new("RGB", (10_000, 5_000), "red"), tmp_path / f"large.{ending}")
    read = read_picture(file)
    width, height = read.image.size
    assert 0.5 * pictures.KEPT_PIXELS < width * height <= pictures.KEPT_PIXELS and abs(width / height - 2) < 0.01
    assert read.notes == (f"made smaller, 10000 x 5000 to {width} x {height}",)


def test_more_pixels_than_can_be_read_are_refused_without_reading_them(tmp_path):
    bomb = saved(Image.new("1", (20_000, 20_000)), tmp_path / "bomb.png")
    assert bomb.stat().st_size < 100_000
    with pytest.raises(DataError, match=r"bomb\.png is too large: .* at most 100,000,000 can be read: make it smaller"):
        read_picture(bomb)
    wide = saved(Image.new("1", (12_000, 10_000)), tmp_path / "wide.png")
    with pytest.raises(DataError, match="12000 x 10000 are 120,000,000 pixels"):
        read_picture(wide)


def test_pictures_of_a_record_are_read_where_files_may_be_alone(tmp_path, monkeypatch):
    picture = picture_at(saved(halves(), tmp_path / "a.png"))
    monkeypatch.setenv("WORKBENCH_FOLDERS", str(tmp_path / "others"))
    with pytest.raises(DataError, match="lies outside the folders that may be read"):
        image_of(picture)
    # What an attack makes and reads again is not what somebody gave.
    with scratch_folder() as folder:
        assert image_of(picture_at(saved(halves(), folder / "a.png"))).size == halves().size
    assert not folder.exists()
