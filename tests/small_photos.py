"""Small photos in folders, as files that Pillow writes."""

import numpy as np
from PIL import Image


def photo(seed: int, width: int = 20, height: int = 12, mode: str = "RGB") -> Image.Image:
    """Return an image with smooth colours, which JPEG changes little."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (2, 2, 3), np.uint8))
    return small.resize((width, height), Image.Resampling.BILINEAR).convert(mode)


def folder(place, kinds=("rose", "tulip"), count: int = 6, endings=(".png", ".jpg")):
    """Write `count` photos of each kind, the kinds of different brightness; return the paths, sorted."""
    paths = []
    for number, kind in enumerate(kinds):
        (place / kind).mkdir(parents=True, exist_ok=True)
        for n in range(count):
            paths.append(place / kind / f"{n}{endings[n % len(endings)]}")
            image = photo(100 * number + n, 16 + n % 5, 12 + n % 3)
            image.point(lambda value, dark=number: value // (1 + dark)).save(paths[-1], quality=95)
    return sorted(paths)
