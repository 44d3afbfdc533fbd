"""An image file as pixels of one size: decoded by Pillow, upright, in RGB or grey, cut, filled up or stretched.

    file --header: size, orientation--> pixels --RGB, over white--> upright --fit--> height x width x channels, uint8

A file is known by its first bytes, of the formats below alone. What its header tells is held against the limits before
anything is decoded. A JPEG much larger than it is needed is decoded at 1/2, 1/4 or 1/8 of its size, as the format
allows, and never below twice of what is needed.
"""

import contextlib
import os
import pathlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from hvdedge.errors import one_line

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP")
ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".gif", ".webp")
MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a")  # BMP's two letters begin texts, too
RESOURCE_FORK = "._"  # begins the name of what macOS puts beside a file
MOST_SIDE = 1 << 17  # to resize a longer side takes Pillow more memory than its pixels do
HELD_BYTES = 8  # a pixel, as Pillow holds RGB in 4 bytes, once before and once after it is converted
PROGRESSIVE_BYTES = 6  # a pixel: what libjpeg holds of a progressive JPEG, whatever size it is decoded at
MEMORY_SHARE = 0.5  # of what a rank may hold, for one image
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Form:
    """What images are brought to.

    Attributes:
        fit: crop keeps the aspect and cuts the middle out, pad keeps it and fills with black, stretch does not keep it.
    """

    height: int
    width: int
    channels: int
    fit: str

    @property
    def values(self) -> int:
        return self.height * self.width * self.channels


class NoImageError(Exception):
    """A file of which no image can be made; `rule` is that of the quarantine."""

    def __init__(self, rule: str, why: str):
        super().__init__(why)
        self.rule = rule


def is_image(path: pathlib.Path) -> bool:
    """Tell whether a file is one to decode: by the end of its name, or by its first bytes."""
    if path.name.startswith(RESOURCE_FORK):
        return False
    if path.suffix.lower() in ENDINGS:
        return True
    try:
        with open(path, "rb") as file:
            return file.read(8).startswith(MAGIC)
    except OSError:
        return False


@contextlib.contextmanager
def quiet_pillow() -> Iterator[None]:
    """Let Pillow neither warn nor refuse by limits of its own in the body: `decode` has its limits."""
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def decode(path: pathlib.Path, form: Form, most_pixels: int, memory_bytes: int) -> np.ndarray:
    """Return the image in a file, uint8 (height * width * channels,), row by row; within `quiet_pillow`.

    Raises:
        NoImageError: where it is none, is broken, or larger than `most_pixels`, or takes more than half of the memory.
    """
    try:
        with open(path, "rb") as file:
            _check_bytes(os.fstat(file.fileno()).st_size, "in the file", memory_bytes)
            with Image.open(file, formats=FORMATS) as image:
                return _decode(image, form, most_pixels, memory_bytes)
    except (NoImageError, MemoryError):
        raise
    except Image.UnidentifiedImageError:
        raise NoImageError("broken_image", f"no image in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}") from None
    except Exception as error:  # each of its decoders raises what it likes
        raise NoImageError("broken_image", one_line(error)) from None


def _decode(image: Any, form: Form, most_pixels: int, memory_bytes: int) -> np.ndarray:
    width, height = image.size
    if width * height > most_pixels or max(width, height) > MOST_SIDE:
        raise NoImageError(
            "image_too_large",
            f"{width} x {height} pixels, allowed: {most_pixels} in all and {MOST_SIDE} a side; raise "
            "prepare.most_pixels if it is sound",
        )
    held = PROGRESSIVE_BYTES * width * height if image.info.get("progressive") else 0
    if image.format in ("JPEG", "MPO"):
        side = 2 * max(form.width, form.height)  # it may lie on its side
        image.draft(None, (side, side))
    _check_bytes(held + HELD_BYTES * image.width * image.height, f"for {width} x {height} pixels", memory_bytes)
    image.load()  # before EXIF is asked for, which in a PNG may stand behind the pixels: what is broken is told here
    turn = TURNS.get(_orientation(image) or 1)
    image = _coloured(image)
    image = _fitted(image if turn is None else image.transpose(turn), form)
    return np.asarray(image.convert("L") if form.channels == 1 else image, np.uint8).reshape(-1)


def _check_bytes(needed: int, what: str, memory_bytes: int) -> None:
    most = int(MEMORY_SHARE * memory_bytes)
    if needed > most:
        raise NoImageError("image_too_large", f"{needed} bytes {what}, allowed: {most}, half of memory; raise it")


def _orientation(image: Any) -> int | None:
    """Return how the camera was held, as EXIF tells; None where it does not."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # a broken EXIF block does not spoil the pixels
        return None


def _coloured(image: Any) -> Any:
    """Return the image as RGB, or as RGBA where something is transparent; of 16 bits the upper 8."""
    if image.mode.startswith("I"):
        grey = np.clip(np.asarray(image), 0, (1 << 16) - 1) >> 8
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _fitted(image: Any, form: Form) -> Any:
    """Return the image as RGB in the form's height and width, bilinear over areas; what is transparent is white."""
    width, height = image.size
    size, box = (form.width, form.height), (0.0, 0.0, float(width), float(height))
    is_wider = width * form.height > height * form.width  # than the form
    if form.fit == "crop" and is_wider:
        cut = (width - height * form.width / form.height) / 2
        box = (cut, 0.0, width - cut, float(height))
    elif form.fit == "crop":
        cut = (height - width * form.height / form.width) / 2
        box = (0.0, cut, float(width), height - cut)
    elif form.fit == "pad" and is_wider:
        size = (form.width, max(round(height * form.width / width), 1))
    elif form.fit == "pad":
        size = (max(round(width * form.height / height), 1), form.height)
    image = image.resize(size, Image.Resampling.BILINEAR, box)
    if image.mode == "RGBA":
        white = Image.new("RGBA", size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
    if size == (form.width, form.height):
        return image
    filled = Image.new("RGB", (form.width, form.height))
    filled.paste(image, ((form.width - size[0]) // 2, (form.height - size[1]) // 2))
    return filled
