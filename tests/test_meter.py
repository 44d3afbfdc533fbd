"""What a rank costs: real time and memory, joules from the counter or from watts."""

import subprocess
import sys
import time

import numpy as np
import pytest

from hvdedge import meter
from hvdedge.meter import Meter, Traffic, Watts


def test_busy_time_is_cpu_time_and_sleep_is_not():
    before = Meter().read(Watts(), 1)
    time.sleep(0.2)
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    after = Meter().read(Watts(), 1)
    assert 0.19 < after["cpu_seconds"] - before["cpu_seconds"] < 0.3
    assert after["wall_seconds"] - before["wall_seconds"] > 0.39


def test_the_peak_is_what_was_resident_at_most():
    before = meter.peak_rss_bytes()
    block = np.ones(80_000_000, np.uint8)
    del block
    assert meter.peak_rss_bytes() - before > 60_000_000 or meter.peak_rss_bytes() > 200_000_000


def test_energy_without_a_counter_follows_from_watts(monkeypatch, tmp_path):
    monkeypatch.setattr(meter, "RAPL", tmp_path)
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    monkeypatch.setattr(Meter, "wall_seconds", 10.0)
    monkeypatch.setattr(Meter, "cpu_seconds", 8.0)
    costs = Meter().read(Watts(2.0, 6.0), local_ranks=2)
    assert (costs["energy_joules"], costs["energy_source"]) == (2 * 10 / 2 + 4 * 8 / 4, "model")
    assert Meter().read(Watts(), 1)["energy_joules"] is None


def test_the_processors_counter_is_read_where_it_can_be_and_may_wrap(monkeypatch, tmp_path):
    monkeypatch.setattr(meter, "RAPL", tmp_path)
    zones = {"0": "package-0", "0:0": "core", "1": "package-1", "2": "psys"}
    for name, label in ((f"intel-rapl:{zone}", label) for zone, label in zones.items()):
        (tmp_path / name).mkdir()
        (tmp_path / name / "name").write_text(f"{label}\n")
        (tmp_path / name / "energy_uj").write_text("9000000\n")
        (tmp_path / name / "max_energy_range_uj").write_text("9999999\n")
    watch = Meter()
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("8000000\n")  # wrapped at 10 J: 9 J
    watch.sample()
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("2000000\n")  # and once more: 4 J
    (tmp_path / "intel-rapl:2" / "energy_uj").write_text("9900000\n")
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("9500000\n")  # 0.5 J
    costs = watch.read(Watts(1.0, 2.0), local_ranks=2)
    assert costs["energy_joules"] == pytest.approx(13.5 / 2)
    assert costs["energy_source"] == "rapl"


def test_traffic_is_what_was_counted():
    costs = Meter(Traffic(10, 20, 0.5)).read(Watts(), 1)
    assert (costs["bytes_sent"], costs["bytes_received"], costs["idle_seconds"]) == (10, 20, 0.5)


def test_the_time_before_the_meter_was_made_counts_too():
    code = "import time; time.sleep(0.5); from hvdedge.meter import Meter; print(Meter().wall_seconds)"
    began = time.perf_counter()
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert 0.5 < float(out) < time.perf_counter() - began + 0.02
