from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from segcore.data.images import decode_image, decode_preview, file_name_problem, probe_image, read_image, safe_join
from segcore.data.paint import orient
from segcore.errors import DataError

RGB = np.kron(np.arange(24, dtype=np.uint8).reshape(2, 4, 3) * 10, np.ones((8, 8, 1), np.uint8))  # 16 x 32 px


def encoded(image_format: str, orientation: int = 1, rgb: np.ndarray = RGB) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(image_format, {})
    if image_format != "BMP":
        options = options | {"exif": exif}
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, image_format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_images_are_bgr_and_turned_as_exif_says(tmp_path: Path, image_format: str, orientation: int):
    path = tmp_path / "image"
    path.write_bytes(encoded(image_format, orientation))
    expected = orient(RGB[:, :, ::-1], orientation)
    image = read_image(path)
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).max() <= 3
    header = probe_image(path, 1.0)
    assert (header.width, header.height) == (32, 16)
    assert (header.oriented_height, header.oriented_width) == image.shape[:2]


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF", "WEBP", "BMP"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_a_file_that_ends_early_is_an_error_not_a_grey_image(tmp_path: Path, image_format: str, share: float):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    data = encoded(image_format, rgb=noise)
    path = tmp_path / "image"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataError, match=str(path)):
        read_image(path)


def test_the_end_of_an_embedded_thumbnail_is_not_the_end_of_the_image(tmp_path: Path):
    thumbnail = encoded("JPEG")
    data = encoded("JPEG", rgb=np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    path = tmp_path / "image.jpg"
    path.write_bytes(data[:2] + segment + data[2:])
    assert read_image(path).shape == (64, 64, 3)
    path.write_bytes((data[:2] + segment + data[2:])[:-200])
    with pytest.raises(DataError, match="ends early"):
        read_image(path)


@pytest.mark.parametrize("options", [{"progressive": True}, {"quality": 5}, {"optimize": True}])
def test_every_kind_of_jpeg_is_read(tmp_path: Path, options: dict[str, object]):
    path = tmp_path / "image.jpg"
    Image.fromarray(RGB).save(path, "JPEG", **options)
    assert read_image(path).shape == (16, 32, 3)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1", "I;16"])
def test_other_colour_modes_become_three_channels_of_uint8(tmp_path: Path, mode: str):
    path = tmp_path / "image"
    source = Image.fromarray(RGB)
    image = Image.new("I;16", (32, 16), 700) if mode == "I;16" else source.convert(mode)
    image.save(path, "JPEG" if mode == "CMYK" else "PNG")
    assert read_image(path).shape == (16, 32, 3)


def test_an_image_over_the_pixel_cap_is_refused_by_its_header_alone(tmp_path: Path):
    path = tmp_path / "bomb.png"
    Image.new("1", (20_000, 15_000)).save(path)
    with pytest.raises(DataError, match=r"20000x15000 is 300\.0 megapixels, more than data\.max_megapixels \(200\)"):
        probe_image(path, 200.0)


@pytest.mark.parametrize("content", [b"", b"hello, I am no image", b"\xff\xd8\xff\xe0 broken", b"%PDF-1.4", b"GIF89a"])
def test_what_is_no_image_is_refused_with_its_name(tmp_path: Path, content: bytes):
    path = tmp_path / "image.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"image\.jpg"):
        probe_image(path, 1.0)


def test_a_missing_image_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"gone\.jpg: cannot be read \(No such file"):
        probe_image(tmp_path / "gone.jpg", 1.0)


def test_a_preview_is_grey_turned_and_never_smaller_than_asked(tmp_path: Path):
    rgb = np.zeros((400, 640, 3), np.uint8)
    preview = decode_preview(encoded("JPEG", 6, rgb), "image", 100)
    assert preview.shape == (160, 100)
    assert preview.dtype == np.uint8
    assert decode_preview(encoded("JPEG", 1, rgb), "image", 500).shape == (400, 640)


@pytest.mark.parametrize(
    ("file_name", "problem"),
    [
        ("a.jpg", None),
        ("sub/folder/a b.jpg", None),
        ("..a/b..jpg", None),
        ("../a.jpg", "inside"),
        ("sub/../../a.jpg", "inside"),
        ("/etc/passwd", "relative"),
        ("C:/a.jpg", "relative"),
        ("sub\\a.jpg", "use /"),
        ("a\0.jpg", "printable"),
        ("a\ud800.jpg", "printable"),
        ("", "non-empty"),
        (None, "non-empty"),
        (7, "non-empty"),
    ],
)
def test_file_names_may_not_leave_their_folder(tmp_path: Path, file_name: object, problem: str | None):
    found = file_name_problem(file_name)
    if problem is None:
        assert found is None
        assert safe_join(tmp_path, str(file_name)) == tmp_path / str(file_name)
    else:
        assert found is not None
        assert problem in found


def test_a_symbolic_link_out_of_the_folder_is_refused_and_one_inside_is_not(tmp_path: Path):
    folder, outside = tmp_path / "images", tmp_path / "secret.jpg"
    folder.mkdir()
    cv2.imwrite(str(outside), RGB)
    cv2.imwrite(str(folder / "real.jpg"), RGB)
    (folder / "out.jpg").symlink_to(outside)
    (folder / "in.jpg").symlink_to(folder / "real.jpg")
    (tmp_path / "alias").symlink_to(folder)
    assert safe_join(tmp_path / "alias", "in.jpg").exists()
    with pytest.raises(DataError, match="symbolic link"):
        safe_join(folder, "out.jpg")


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["JPEG", "PNG", "TIFF", "WEBP", "BMP"]),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=12),
)
def test_a_damaged_image_is_decoded_or_a_data_error_never_another(image_format: str, damage: list[tuple[int, int]]):
    data = bytearray(encoded(image_format, 6))
    for position, value in damage:
        data[position % len(data)] = value
    try:
        image = decode_image(bytes(data), "image", 1.0)
    except DataError:
        return
    assert image.ndim == 3
