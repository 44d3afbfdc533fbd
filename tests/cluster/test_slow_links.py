"""Exchange that adapts to links of emulated hosts, which are slow and then recover."""

import json
import pathlib
import subprocess
import threading

import emulated_hosts
import pytest

from hvdedge import clusters, launch

TESTS = pathlib.Path(__file__).resolve().parents[1]
MISSING = emulated_hosts.missing()


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=f"emulating hosts {MISSING}")
def test_ranks_exchange_less_over_slow_links_and_as_before_when_they_recover(tmp_path):
    given = {
        "rows": 6000,
        "hidden": 4000,
        "batch_size": 8,
        "epochs": 10,
        "slow_share": 0.5,
        "exchange": "auto",
        "balance": "never",
    }
    settings = {"learning_rate": 0.001, "folder": str(tmp_path / "a")}
    with emulated_hosts.emulated_hosts(3, tmp_path) as hosts:
        hosts.shape(20)
        words = [json.dumps([given | settings])]
        cluster = clusters.read_cluster(str(hosts.hostfile))
        command = launch.mpirun(str(TESTS / "train_rows.py"), words, ranks=3, cluster=cluster)
        place = command.index("--wdir")
        command[place:place] = ["-x", f"PYTHONPATH={TESTS.parent}"]
        process = subprocess.Popen(
            hosts.command(command), env=hosts.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        watch = threading.Timer(300, process.kill)
        watch.start()
        lines, is_slow = [], True
        for line in process.stdout:
            lines.append(line)
            if is_slow and line.startswith("event exchange_changed"):
                is_slow = False
                hosts.shape(None)
        watch.cancel()
        assert process.wait() == 0, "".join(lines)
    found = json.loads(next(line for line in lines if line.startswith("{")))
    changes = [event for event in found["events"] if event["what"] == "exchange_changed"]
    assert changes[0]["before"] == "gradients as float32" != changes[0]["action"]
    assert 1e6 < changes[0]["bytes_per_second"] < 4e6  # of 20 Mbit/s
    assert changes[-1]["action"] == "gradients as float32"
    assert len(set(found["digests"])) == 1
    assert found["curves"]["loss"][-1] < found["curves"]["loss"][0]
