"""Images in another size and changed copies, against scipy and sums by hand; the same from what JSON holds."""

import json

import numpy as np
import pyarrow as pa
import pytest
from scipy import ndimage

from hvdedge.errors import InputError
from hvdedge.features.image import extract
from hvdedge.images import DEGREES, changed, encode, resize
from hvdedge.sampling import uniform
from hvdedge.tables import Table

RNG = np.random.default_rng(6)
IMAGES = RNG.random((4, 6, 9, 2)).astype(np.float32)


def made(workspace, pixels, batch_rows: int = 3, split=None, **columns) -> Table:
    """Return rows of pixels p0, p1, ... as a table; every fifth is for the test."""
    pixels = np.asarray(pixels, np.float64)
    rows = pa.table(
        {
            **{f"p{number}": pixels[:, number] for number in range(pixels.shape[1])},
            "label": ([0, 1] * len(pixels))[: len(pixels)],
            "_split": pa.array(np.where(np.arange(len(pixels)) % 5 == 4, 2, 0) if split is None else split, pa.uint8()),
            **columns,
        }
    )
    return Table.from_batches(rows.schema, rows.to_batches(batch_rows), workspace)


def read(features) -> list[np.ndarray]:
    return [np.concatenate(parts) for parts in zip(*features.batches(), strict=True)]


def test_a_smaller_image_is_the_mean_of_areas():
    halves = IMAGES.reshape(4, 3, 2, 3, 3, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(resize(IMAGES, 3, 3), halves, rtol=1e-6)
    fine = IMAGES.repeat(4, axis=1).repeat(2, axis=2)  # 24 x 18: parts of a pixel weigh as much as they are
    np.testing.assert_allclose(resize(IMAGES, 4, 2), fine.reshape(4, 4, 6, 2, 9, 2).mean(axis=(2, 4)), rtol=1e-6)
    np.testing.assert_allclose(resize(IMAGES, 1, 1)[:, 0, 0], IMAGES.mean(axis=(1, 2)), rtol=1e-6)


def test_a_larger_image_is_bilinear_between_the_centres_of_pixels():
    zoomed = ndimage.zoom(IMAGES.astype(float), (1, 2.5, 3, 1), order=1, mode="nearest", grid_mode=True)
    np.testing.assert_allclose(resize(IMAGES, 15, 27), zoomed, rtol=1e-5)
    assert resize(IMAGES, 3, 27).shape == (4, 3, 27, 2)
    assert resize(IMAGES[:0], 3, 27).shape == (0, 3, 27, 2)


def test_an_image_does_not_depend_on_those_beside_it():
    for one, alone in zip(resize(IMAGES, 4, 20), IMAGES, strict=True):
        assert (one == resize(alone[None], 4, 20)[0]).all()
    rows = np.arange(4) + 7
    ways = ("shift", "flip", "rotate")
    for one, alone, row in zip(changed(IMAGES, rows, ways, 3, 5), IMAGES, rows, strict=True):
        assert (one == changed(alone[None], np.array([row]), ways, 3, 5)[0]).all()


def test_shifted_copies_are_the_image_moved_by_whole_pixels():
    image = np.zeros((1, 16, 16, 1), np.float32)
    image[0, 5:9, 4:7] = 1
    found = {
        tuple(np.argwhere(copy[..., 0] > 0)[0] - [5, 4])
        for copy in changed(image, np.zeros(1, int), ["shift"], 300, 1)[0]
    }
    assert found == {(down, right) for down in range(-2, 3) for right in range(-2, 3)}


def test_about_half_of_the_copies_are_flipped():
    copies = changed(IMAGES[:1], np.zeros(1, int), ["flip"], 200, 3)[0]
    is_flipped = (copies == IMAGES[0, :, ::-1]).all(axis=(1, 2, 3))
    assert (is_flipped | (copies == IMAGES[0]).all(axis=(1, 2, 3))).all()
    assert 60 < is_flipped.sum() < 140


def test_rotated_copies_are_those_of_scipy():
    copies = changed(IMAGES, np.arange(4), ["rotate"], 2, 9).reshape(8, 6, 9, 2)
    for number, copy in enumerate(copies):
        angle = (2 * uniform(9, np.array([number * 4]))[0] - 1) * DEGREES
        wanted = ndimage.rotate(
            IMAGES[number // 2].astype(float), -angle, axes=(0, 1), reshape=False, order=1, mode="grid-constant"
        )
        np.testing.assert_allclose(copy, wanted, atol=1e-6)


def test_copies_stand_behind_their_training_row_and_keep_its_label(comm, workspace):
    pixels = RNG.integers(0, 255, (10, 64))
    options = {"augment": ("shift", "rotate"), "copies": 2, "seed": 4}
    codes, x, y = read(extract(made(workspace, pixels), comm, **options))
    plain = read(extract(made(workspace, pixels), comm))
    places = np.repeat(np.arange(10), np.where(plain[0] == 0, 3, 1))
    assert (codes == plain[0][places]).all()
    assert (y == plain[2][places]).all()
    first = np.diff(places, prepend=-1) > 0
    assert (x[first] == plain[1]).all()
    assert not (x[~first] == plain[1][places][~first]).all(axis=(1, 2, 3)).all()
    again = read(extract(made(workspace, pixels, batch_rows=1), comm, **options))
    assert (again[1] == x).all()
    assert (read(extract(made(workspace, pixels), comm, **(options | {"seed": 5})))[1] != x).any()
    told = extract(made(workspace, pixels), comm, resize=(4, 4), **options).decisions
    assert told == {
        "p*": "images of 8 x 8 x 1, resized to 4 x 4, 2 changed copies of each training row (shift, rotate)"
    }


@pytest.mark.parametrize("scale", [True, False, "channel", "image"])
def test_each_scale_is_that_of_the_training_rows_and_json_holds_it(scale, comm, workspace):
    pixels = RNG.normal(0, [1, 10] * 8, (10, 16))  # two channels
    pixels[:, 3] = np.nan
    table = made(workspace, pixels)
    features = extract(table, comm, shape=(4, 2, 2), scale=scale, resize=(2, 4))
    spec = json.loads(json.dumps(features.spec, allow_nan=False))
    codes, x, _ = read(features)
    again = np.concatenate([encode(batch, spec) for batch in table.batches()])
    assert again.tobytes() == x.tobytes()
    train = pixels[codes == 0].reshape(-1, 8, 2)
    if scale == "channel":
        assert features.spec["scale"] == {
            "min": np.nanmin(train, axis=(0, 1)).tolist(),
            "max": np.nanmax(train, axis=(0, 1)).tolist(),
        }
    raw = read(extract(table, comm, shape=(4, 2, 2), scale=scale))[1]
    axes = {"channel": (0, 1, 2), "image": (1, 2, 3), True: (0, 1, 2, 3)}.get(scale)
    if axes:
        ends = raw[codes == 0]
        assert (ends.min(axis=axes) == 0).all()
        assert (ends.max(axis=axes) == 1).all()


def test_rows_that_are_not_for_training_change_nothing_that_is_learnt(comm, workspace):
    pixels = RNG.normal(0, 1, (10, 64))
    strange = np.where((np.arange(10) % 5 == 4)[:, None], 1e6, pixels)
    options = {"scale": "channel", "augment": ("flip",), "resize": (5, 5)}
    one, two = (extract(made(workspace, rows), comm, **options) for rows in (pixels, strange))
    assert one.spec == two.spec
    assert (read(one)[1][read(one)[0] == 0] == read(two)[1][read(two)[0] == 0]).all()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"resize": (4,)}, r"extract.resize: received \[4\], allowed: height and width; give two numbers"),
        (
            {"resize": (4, 4), "shape": (64,)},
            r"extract.resize: received images of shape \[64\], allowed: height, width,",
        ),
        (
            {"augment": ("flip",), "shape": (8, 8)},
            r"extract.augment: received images of shape \[8, 8\], allowed: height",
        ),
    ],
)
def test_what_cannot_be_resized_or_changed_is_refused(options, line, comm, workspace):
    with pytest.raises(InputError, match=line):
        extract(made(workspace, RNG.random((10, 64))), comm, **options)


def arrays(columns: pa.Table, cells: np.ndarray, is_missing: np.ndarray, type_=None) -> pa.Table:
    """The rows with one column of arrays in the place of those of pixels."""
    pixels = pa.array(cells.reshape(-1), type_, from_pandas=True)
    kept = columns.drop_columns([name for name in columns.column_names if name.startswith("p")])
    lists = pa.FixedSizeListArray.from_arrays(pixels, cells.shape[1], mask=pa.array(is_missing))
    return kept.append_column("image", lists)


@pytest.mark.parametrize("scale", [True, False, "channel", "image"])
@pytest.mark.parametrize("is_whole", [True, False])
def test_a_column_of_arrays_is_as_the_same_pixels_in_columns(scale, is_whole, comm, workspace):
    cells = RNG.integers(0, 256, (23, 36)).astype(float) if is_whole else RNG.normal(0, 9, (23, 36))
    if not is_whole:
        cells[3, 5], cells[4, 6] = np.nan, np.inf
    is_missing = np.arange(23) % 7 == 2
    spread = np.where(is_missing[:, None], np.nan, cells)
    table = made(workspace, spread)
    type_ = pa.uint8() if is_whole else pa.float32() if scale == "image" else pa.float64()
    if type_ == pa.float32():
        spread = spread.astype(np.float32)
        table = made(workspace, spread)
    rows = arrays(table.to_arrow(), cells.astype(type_.to_pandas_dtype()), is_missing, type_)
    other = Table.from_batches(rows.schema, rows.to_batches(5), workspace)
    options = {"shape": (4, 3, 3), "scale": scale, "augment": ("shift",), "resize": (3, 5), "seed": 2}
    one, two = extract(table, comm, **options), extract(other, comm, columns="image", **options)
    assert two.spec == one.spec | {"columns": ["image"]}
    for a, b in zip(read(one), read(two), strict=True):
        assert a.tobytes() == b.tobytes()
    assert two.rows_left_out == one.rows_left_out and two.left_out == {}


def test_arrays_that_do_not_fit_are_refused(comm, workspace):
    table = made(workspace, RNG.integers(0, 256, (10, 12)))
    rows = arrays(table.to_arrow(), RNG.integers(0, 256, (10, 12)).astype(np.uint8), np.zeros(10, bool))
    rows = rows.append_column("more", pa.array([[1], [2, 3]] * 5)).append_column("words", pa.array([["a"]] * 10))
    table = Table.from_batches(rows.schema, rows.to_batches(), workspace)
    line = r"extract.shape: received \[2, 2, 2\] for the arrays of 12 numbers in 'image', allowed: .* product is 12; "
    with pytest.raises(InputError, match=line):
        extract(table, comm, columns="image", shape=(2, 2, 2))
    for name in ("more", "words", "*m*"):
        with pytest.raises(InputError, match="allowed: columns of numbers, or one of arrays of as many numbers in eac"):
            extract(table, comm, columns=name, shape=(2, 2, 3))
