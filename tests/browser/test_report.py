"""The report in a real browser, at a desk's and a phone's width. Skipped where there is no Chromium."""

import html
import json
import pathlib
import re
import shutil
import struct
import subprocess
import zlib

import pytest
import report_records

from hvdedge import page, runs

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DESK, PHONE = 1280, 375
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; on Debian: apt-get install chromium"),
    pytest.mark.timeout(240),
]
# The page's own policy forbids scripts, so the script is around it: in the frame's parent, which may look inside.
# A frame also has the phone's width, which is below the least width of a browser's window.
AROUND = """<!DOCTYPE html><body style="margin:0">
<iframe id="frame" srcdoc="{page}" style="width:{width}px;height:900px;border:0"></iframe>
<pre id="measured"></pre><script>
const frame = document.getElementById("frame");
frame.addEventListener("load", () => {{
  const inside = frame.contentDocument, view = frame.contentWindow;
  for (const folded of inside.querySelectorAll("details")) folded.open = true;
  const boxes = [...inside.querySelectorAll("body *")].filter(e => e.tagName !== "svg" && !e.closest("svg, .scroll *"));
  const wide = boxes.filter(e => e.getBoundingClientRect().right > view.innerWidth + 0.5);
  const texts = [...inside.querySelectorAll(".plot text")].map(e => e.getBoundingClientRect().height);
  document.getElementById("measured").textContent = JSON.stringify({{
    innerWidth: view.innerWidth,
    scrollWidth: inside.documentElement.scrollWidth,
    wide: wide.slice(0, 5).map(e => e.outerHTML.slice(0, 120)),
    scrolling: [...inside.querySelectorAll(".scroll")].filter(e => e.scrollWidth > e.clientWidth).length,
    headings: [...inside.querySelectorAll("h1, h2, h3, h4")].map(e => e.textContent.trim()),
    plots: [...inside.querySelectorAll(".plot > svg")].map(e => e.getBoundingClientRect().width),
    smallest: Math.min(...texts.filter(height => height > 0)),
    requests: view.performance.getEntriesByType("resource").map(e => e.name),
    background: view.getComputedStyle(inside.body).backgroundColor,
    color: view.getComputedStyle(inside.body).color,
    line: view.getComputedStyle(inside.querySelector(".plot path[style*='stroke: var(--s0)']")).stroke,
  }});
}});
</script></body>"""


def browse(folder: pathlib.Path, *options: str) -> str:
    """Run Chromium once, with a new profile below `folder` and no network, and return what it prints."""
    quiet = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking"
    quiet += " --disable-component-update --disable-sync --hide-scrollbars --proxy-server=127.0.0.1:9"
    profile = f"--user-data-dir={folder / 'profile'}"
    command = [CHROMIUM, *quiet.split(), profile, f"--window-size={DESK},1000", *options]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout
    finally:
        shutil.rmtree(folder / "profile", ignore_errors=True)


def measure(folder: pathlib.Path, text: str, width: int, *options: str) -> dict:
    """Return what a browser measures of a page in a frame of this width, with everything unfolded."""
    around = folder / f"around-{width}.html"
    around.write_text(AROUND.format(page=html.escape(text), width=width))
    dump = browse(folder, "--dump-dom", "--virtual-time-budget=10000", *options, around.as_uri())
    return json.loads(html.unescape(re.search(r'<pre id="measured">(.*?)</pre>', dump, re.DOTALL)[1]))


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, str]:
    """The page of a run, the page over all, and one with names too long for any screen."""
    results = tmp_path_factory.mktemp("results")
    report_records.write_digits(results)
    broken = report_records.digits("n2-failed", 2)
    broken["train"].status, broken["train"].ranks, broken["train"].wall_seconds = "failed", [], None
    broken["train"].error = {"rank": 1, "host": "pi01", "cause": "OSError: " + "/very/long/path" * 20}
    report_records.write(results, broken)
    found, _ = runs.load(results)
    page.write(found, found[-2], results / "one")
    page.write(found, None, results / "all")
    long = report_records.digits("n" * 120, 4, case="c" * 120)
    for record in long.values():
        for rank in record.ranks:
            rank.host = f"host-{rank.rank}-" + "x" * 120
    long["evaluate"].metrics["classes"] = [{"class": "w" * 90, "precision": 1.0} for _ in range(10)]
    report_records.write(results / "long", long)
    page.write(runs.load(results / "long")[0], runs.load(results / "long")[0][0], results / "long" / "out")
    report_records.write(results / "search", report_records.searched())
    page.write(runs.load(results / "search")[0], runs.load(results / "search")[0][0], results / "search" / "out")
    names = {"one": results / "one", "all": results / "all", "long": results / "long" / "out"}
    names["search"] = results / "search" / "out"
    return {name: (folder / "index.html").read_text() for name, folder in names.items()}


@pytest.mark.parametrize("width", [DESK, PHONE])
@pytest.mark.parametrize("name", ["one", "all", "long", "search"])
def test_the_page_never_scrolls_sideways(pages, tmp_path, name, width):
    measured = measure(tmp_path, pages[name], width)
    assert measured["innerWidth"] == width
    assert measured["scrollWidth"] <= width
    assert measured["wide"] == []
    if width == PHONE:
        assert measured["scrolling"] > 0  # wide tables scroll in their own boxes
    elif name == "one":
        assert measured["scrolling"] == 0


@pytest.mark.parametrize("width", [DESK, PHONE])
def test_all_sections_are_there_and_pictures_are_drawn_large_enough_to_read(pages, tmp_path, width):
    measured = measure(tmp_path, pages["one"], width)
    expected = "What ran where,Stages,Quality,Training,Data and repairs,Compressed models,Events,Options"
    assert [title for title in expected.split(",") if title not in measured["headings"]] == []
    for title in ("Comparison of all runs", "Learning curves", "Confusion matrix", "Repairs found and missed"):
        assert title in measured["headings"]
    assert len(measured["plots"]) == 6  # stages, loss, accuracy, speed-up, training and validation loss of all
    assert all(300 <= plot <= width for plot in measured["plots"])
    assert measured["smallest"] >= 9


@pytest.mark.parametrize("name", ["one", "all"])
def test_the_page_asks_for_nothing_from_anywhere(pages, tmp_path, name):
    assert measure(tmp_path, pages[name], DESK)["requests"] == []
    assert not re.search(r"(src|href|srcset|action)\s*=\s*[\"']?\s*(https?:)?//", pages[name])


def test_dark_screens_get_bright_text_and_lines_on_dark_paper(pages, tmp_path):
    bright = measure(tmp_path, pages["one"], DESK, "--blink-settings=preferredColorScheme=1")
    dark = measure(tmp_path, pages["one"], DESK, "--blink-settings=preferredColorScheme=0")
    assert luminance(bright["background"]) > 0.9 > 0.1 > luminance(bright["color"])
    assert luminance(dark["background"]) < 0.05 < 0.6 < luminance(dark["color"])
    assert luminance(dark["line"]) > luminance(bright["line"])


def test_a_screenshot_shows_more_than_paper(pages, tmp_path):
    (tmp_path / "page.html").write_text(pages["one"])
    browse(tmp_path, f"--screenshot={tmp_path / 'page.png'}", (tmp_path / "page.html").as_uri())
    width, height, shades = read_png(tmp_path / "page.png")
    assert (width, height) == (DESK, 1000)
    assert shades > 20


def luminance(color: str) -> float:
    """Return the relative luminance of `rgb(r, g, b)`, 0 to 1. Source: WCAG 2.2, relative luminance."""
    shares = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def read_png(path: pathlib.Path) -> tuple[int, int, int]:
    """Return width, height and how many different bytes the packed rows hold (a blank page has very few)."""
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", content[16:24])
    packed, at = b"", 8
    while at < len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        if content[at + 4 : at + 8] == b"IDAT":
            packed += content[at + 8 : at + 8 + length]
        at += length + 12
    return width, height, len(set(zlib.decompress(packed)))
