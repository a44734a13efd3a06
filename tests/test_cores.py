import os

import pytest

from kvplace.cores import usable_cores

try:
    OWN = len(os.sched_getaffinity(0))
except AttributeError:
    OWN = os.cpu_count()


def test_a_container_without_a_limit_has_the_cores_of_the_process(tmp_path):
    assert usable_cores(tmp_path) == OWN


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("max 100000\n", OWN),
        ("50000 100000\n", 1),
        ("100000 100000\n", 1),
        ("110000 100000\n", min(OWN, 2)),
        ("900000000 100000\n", OWN),
        ("nan 100000\n", OWN),
        ("0 0\n", OWN),
        ("\n", OWN),
    ],
)
def test_a_container_has_time_for_as_many_cores_as_its_group_says(tmp_path, text, cores):
    (tmp_path / "cpu.max").write_text(text)
    assert usable_cores(tmp_path) == cores


def test_the_first_version_of_groups_is_understood_too(tmp_path):
    group = tmp_path / "cpu"
    group.mkdir()
    (group / "cpu.cfs_period_us").write_text("100000\n")
    (group / "cpu.cfs_quota_us").write_text("-1\n")
    assert usable_cores(tmp_path) == OWN
    (group / "cpu.cfs_quota_us").write_text("30000\n")
    assert usable_cores(tmp_path) == 1


@pytest.mark.parametrize(
    ("line", "root"),
    [("0::/system.slice/run.scope\n", ""), ("3:cpu,cpuacct:/system.slice/run.scope\n", "cpu")],
)
@pytest.mark.parametrize("limited", ["system.slice", "system.slice/run.scope"])
def test_a_service_has_the_least_of_its_groups(tmp_path, line, root, limited):
    own, group = tmp_path / "own", tmp_path / root / limited
    own.write_text(f"9:name=systemd:/other\n{line}")
    group.mkdir(parents=True)
    if root:
        (group / "cpu.cfs_period_us").write_text("100000\n")
        (group / "cpu.cfs_quota_us").write_text("40000\n")
    else:
        (group / "cpu.max").write_text("40000 100000\n")
    assert usable_cores(tmp_path, own) == 1
    own.write_text("no such line\n")
    assert usable_cores(tmp_path, own) == OWN
