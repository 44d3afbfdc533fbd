"""Hostfiles as people write them, and the settings beside them."""

import pytest

from hvdedge import clusters
from hvdedge.errors import InputError


def cluster(tmp_path, text, settings=None):
    (tmp_path / "some").write_text(text)
    if settings is not None:
        (tmp_path / "some.toml").write_text(settings)
    return clusters.read_cluster(str(tmp_path / "some"))


def test_comments_blank_lines_and_repeated_hosts_are_read_as_mpirun_reads_them(tmp_path):
    found = cluster(
        tmp_path, "# all\n\npi01 slots=2 # the first\n  pi02   slots=1 max_slots=4\npi01 slots=1\n192.168.1.7\n"
    )
    assert found.slots == {"pi01": 3, "pi02": 1, "192.168.1.7": 1}
    assert found.total_slots == 5


@pytest.mark.parametrize(
    "line",
    [
        "local host slots=x;reboot",
        "pi01 slots=0",
        "pi01 slots=-1",
        "pi01 slot=1",
        "pi01 slots",
        "-x slots=1",
        "a;b slots=1",
    ],
)
def test_a_wrong_line_is_named_with_its_number(tmp_path, line):
    with pytest.raises(InputError, match=r"some:3: received .*allowed: HOST slots=N"):
        cluster(tmp_path, f"localhost slots=2\n\n{line}\n")


def test_a_hostfile_without_hosts_is_refused(tmp_path):
    with pytest.raises(InputError, match="received no host"):
        cluster(tmp_path, "# nobody\n\n")


def test_an_unknown_cluster_offers_the_nearest():
    with pytest.raises(InputError, match="did you mean 'local'"):
        clusters.read_cluster("locl")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ('start = "telnet"', "telnet"),
        ("strat = 1", "strat"),
        ('network = "300.1.1.0/24"', "network"),
        ("[usual]\nidle_watts = -1", "idle_watts"),
        ("start = ", "broken TOML"),
    ],
)
def test_wrong_settings_are_named(tmp_path, settings, says):
    with pytest.raises(InputError, match=says):
        cluster(tmp_path, "pi01 slots=1\n", settings)


@pytest.mark.parametrize("ranks", [0, -1, 4, 40])
def test_more_ranks_than_slots_is_an_error_that_says_so(tmp_path, ranks):
    with pytest.raises(InputError, match="allowed: 1 to 3, the slots in"):
        cluster(tmp_path, "pi01 slots=3\n").check_ranks(ranks)


def test_a_host_draws_its_own_watts_or_the_usual_ones(tmp_path):
    found = cluster(
        tmp_path,
        "a slots=1\nb slots=1\n",
        "[usual]\nidle_watts = 3\nbusy_watts = 6\n[hosts.b]\nidle_watts = 4\nbusy_watts = 9\n",
    )
    assert (found.watts("a").idle, found.watts("a").busy) == (3, 6)
    assert (found.watts("b.lan").idle, found.watts("b.lan").busy) == (4, 9)


@pytest.mark.parametrize(("name", "hosts"), [("local", 1), ("pi", 12), ("commodity", 8), ("server", 1)])
def test_the_clusters_of_the_project_can_be_read(name, hosts):
    assert len(clusters.read_cluster(name).slots) == hosts


def test_the_local_cluster_has_four_slots_at_least():
    assert clusters.read_cluster("local").total_slots >= 4
