"""One image file: every mode upright in RGB, cut, filled and stretched as by hand; what is none says why."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_images
from small_photos import photo

from hvdedge.image_files import Form, NoImageError, decode, is_image, quiet_pillow

WHOLE = Form(12, 20, 3, "stretch")
MEMORY = 64_000_000


@pytest.fixture
def decoded(tmp_path):
    """Decode bytes, or an image saved with options, with all warnings as errors."""

    def run(content, form=WHOLE, most_pixels=10**6, memory_bytes=MEMORY, **options):
        path = tmp_path / "image"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            content.save(path, **({"format": "PNG"} | options))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with quiet_pillow():
                found = decode(path, form, most_pixels, memory_bytes)
        return found.reshape(form.height, form.width, form.channels)

    return run


def saved(image, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, **options)
    return file.getvalue()


def test_pixels_of_the_same_size_stay_as_they_are(decoded):
    image = photo(0)
    for format in ("PNG", "BMP"):
        assert (decoded(image, format=format) == np.asarray(image)).all()
    assert (decoded(image, format="WEBP", lossless=True) == np.asarray(image)).all()
    found = decoded(image, format="JPEG", quality=95)
    assert (found == np.asarray(Image.open(io.BytesIO(saved(image, format="JPEG", quality=95))))).all()


def test_every_mode_becomes_rgb(decoded):
    image = photo(1)
    grey = np.asarray(image.convert("L"))
    assert (decoded(image.convert("L")) == grey[..., None]).all()
    assert (decoded(image.convert("1")) == 255 * np.asarray(image.convert("1"))[..., None]).all()
    palette = image.quantize(7)
    assert (decoded(palette) == np.asarray(palette.convert("RGB"))).all()
    assert (decoded(palette, format="GIF") == np.asarray(palette.convert("RGB"))).all()
    inks = np.zeros((12, 20, 4), np.uint8)
    inks[..., 0], inks[..., 3] = 255, 51  # cyan under a fifth of black
    found = decoded(Image.fromarray(inks, "CMYK"), format="JPEG", quality=100).astype(int)
    assert abs(found - [0, 204, 204]).max() <= 4
    deep = (np.arange(240, dtype=np.uint16) * 257).reshape(12, 20)  # 16 bits: v v in hexadecimal
    assert (decoded(Image.fromarray(deep)) == np.arange(240).reshape(12, 20, 1)).all()
    assert (decoded(image, Form(12, 20, 1, "stretch"))[..., 0] == grey).all()


def test_what_is_transparent_is_white(decoded):
    image = photo(2, mode="RGBA")
    alpha = np.tile(np.linspace(0, 255, 20).astype(np.uint8), (12, 1))
    image.putalpha(Image.fromarray(alpha))
    colours, share = np.asarray(image)[..., :3].astype(float), alpha[..., None] / 255
    assert abs(decoded(image) - (colours * share + 255 * (1 - share))).max() <= 1
    both = Image.merge("LA", [photo(2, mode="L"), Image.fromarray(alpha)])
    assert (
        abs(decoded(both)[..., 0] - (np.asarray(both)[..., 0] * share[..., 0] + 255 * (1 - share[..., 0]))).max() <= 1
    )
    keyed = Image.new("RGB", (20, 12), (9, 8, 7))
    keyed.paste((1, 2, 3), (0, 0, 10, 12))
    assert decoded(keyed, transparency=(9, 8, 7))[0, [0, 19]].tolist() == [[1, 2, 3], [255, 255, 255]]
    palette = Image.new("P", (20, 12), 1)
    palette.putpalette([0, 0, 0, 40, 50, 60])
    palette.paste(0, (0, 0, 10, 12))
    assert decoded(palette, format="GIF", transparency=0)[0, [0, 19]].tolist() == [[255, 255, 255], [40, 50, 60]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_as_exif_tells(orientation, decoded):
    image = photo(3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(saved(image, format="PNG", exif=exif))))
    form = Form(upright.height, upright.width, 3, "stretch")
    assert (decoded(image, form, exif=exif) == np.asarray(upright)).all()
    turned = decoded(image, form, format="JPEG", quality=95, exif=exif).astype(int)
    assert abs(turned - np.asarray(upright)).max() < 16
    assert (decoded(image, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff", format="JPEG")).any()  # a broken block


def test_an_image_is_cut_filled_or_stretched(decoded):
    stripes = np.zeros((8, 24, 3), np.uint8)
    stripes[:, 8:16] = 200
    stripes[:, 16:] = 100
    wide, tall = Image.fromarray(stripes), Image.fromarray(stripes.transpose(1, 0, 2))
    assert (decoded(wide, Form(8, 8, 3, "crop")) == 200).all()
    assert (decoded(tall, Form(8, 8, 3, "crop")) == 200).all()
    filled = decoded(wide, Form(24, 24, 3, "pad"))
    assert (filled[8:16] == stripes).all() and not filled[:8].any() and not filled[16:].any()
    assert (decoded(tall, Form(24, 24, 3, "pad")) == filled.transpose(1, 0, 2)).all()
    assert (decoded(wide, Form(8, 24, 3, "stretch")) == stripes).all()
    means = Image.fromarray(np.repeat(np.arange(0, 60, 10, dtype=np.uint8), 5).reshape(1, 30).repeat(4, 0))
    assert (decoded(means, Form(4, 6, 3, "stretch"))[:, [0, 5], 0] == [1, 49]).all()  # bilinear: a little of the next
    for fit in ("crop", "pad", "stretch"):
        for size in ((1, 300), (300, 1), (1, 1)):
            assert decoded(Image.new("RGB", size, "red"), Form(5, 7, 3, fit)).any()


def test_photos_are_those_that_pillow_resizes_by_hand(decoded):
    for array in load_sample_images().images:
        height, width = array.shape[:2]
        content = saved(Image.fromarray(array), format="JPEG", quality=95)
        cut = (width - height) / 2
        with Image.open(io.BytesIO(content)) as whole:
            wanted = whole.resize((64, 64), Image.Resampling.BILINEAR, (cut, 0, width - cut, height))
        found = decoded(content, Form(64, 64, 3, "crop")).astype(float)
        assert abs(found - np.asarray(wanted, float)).mean() < 3  # decoded at half of its size


def test_a_large_jpeg_is_decoded_small(decoded, monkeypatch):
    sizes = []
    monkeypatch.setattr("hvdedge.image_files._coloured", lambda image: sizes.append(image.size) or image.convert("RGB"))
    content = saved(photo(4, 4000, 3000), format="JPEG")
    decoded(content, Form(64, 64, 3, "crop"), 12_000_000)
    assert sizes == [(500, 375)]
    progressive = saved(photo(4, 4000, 3000), format="JPEG", progressive=True)
    with pytest.raises(NoImageError, match="72000000 bytes|73500000 bytes for 4000 x 3000 pixels, allowed: 32000000"):
        decoded(progressive, Form(64, 64, 3, "crop"), 12_000_000)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *more: bytes) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more)


@pytest.mark.parametrize(
    ("content", "rule", "told"),
    [
        (b"", "broken_image", "no image in JPEG, PNG, BMP, GIF or WEBP"),
        (b"<svg/>", "broken_image", "no image in JPEG"),
        (saved(photo(5), format="TIFF"), "broken_image", "no image in JPEG"),
        (saved(photo(5, 300, 200), format="JPEG")[:1500], "broken_image", "truncated"),
        (saved(photo(5), format="PNG")[:90], "broken_image", "OSError"),
        (saved(photo(5), format="GIF")[:60], "broken_image", "no image in|Error"),
        (saved(photo(5), format="WEBP")[:60], "broken_image", "no image in|Error"),
        (png(60_000, 60_000, chunk(b"IDAT", b"")), "image_too_large", "60000 x 60000 pixels, allowed: 1000000 in all"),
        (png(1, 900_000, chunk(b"IDAT", b"")), "image_too_large", "1 x 900000 pixels, allowed: .* and 131072 a side"),
        (png(20, 12, chunk(b"IDAT", b"nonsense")), "broken_image", "Error"),
        (png(20, 12, chunk(b"IDAT", zlib.compress(bytes(61 * 12))[:-6]), chunk(b"IEND", b"")), "broken_image", "trunc"),
        (png(20, 12, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8)))), "broken_image", "ValueError"),
        (saved(photo(5, 999, 1000), format="BMP")[:54], "broken_image", "Error|truncated"),
    ],
)
def test_what_is_no_whole_image_says_why(content, rule, told, decoded):
    with pytest.raises(NoImageError, match=told) as caught:
        decoded(content)
    assert caught.value.rule == rule and "\n" not in str(caught.value)


def test_an_image_that_memory_does_not_hold_is_not_decoded(decoded):
    with pytest.raises(NoImageError, match="for 2100 x 2000 pixels, allowed: 32000000, half of memory"):
        decoded(png(2100, 2000, chunk(b"IDAT", b"")), most_pixels=10**8)
    with pytest.raises(NoImageError, match="in the file, allowed: 100, half of memory"):
        decoded(photo(0), memory_bytes=200)


def test_images_are_known_by_name_or_first_bytes(tmp_path):
    content = {
        **{"a.JPG": b"", "b.webp": b"", "c": saved(photo(0), format="PNG"), "d.dat": saved(photo(0), format="JPEG")},
        **{
            "._a.jpg": b"\0\5\x16\7",
            "notes.txt": b"BM and more",
            ".DS_Store": b"\0\0\0\1Bud1",
            "Thumbs.db": b"\xd0\xcf",
        },
    }
    for name, what in content.items():
        (tmp_path / name).write_bytes(what)
    assert [name for name in content if is_image(tmp_path / name)] == ["a.JPG", "b.webp", "c", "d.dat"]
