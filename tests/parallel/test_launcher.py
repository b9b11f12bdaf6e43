from __future__ import annotations

import pytest

from robustft.errors import ConfigError, RobustftError
from robustft.parallel.launcher import Launcher, first_host
from robustft.plan import Plan
from tests import toy_config

TORCHRUN = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "node7", "MASTER_PORT": "4711", "LOCAL_RANK": "0"}
SRUN = {
    "SLURM_JOB_ID": "1000",
    "SLURM_STEP_ID": "3",
    "SLURM_PROCID": "1",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_STEP_NODELIST": "gpu[03-04]",
}


def test_a_command_is_alone_unless_something_says_otherwise():
    assert Launcher.of(1, {}) == Launcher(0, 1)


@pytest.mark.parametrize("nodes", [1, 2])
def test_torchrun_says_which_start_this_is(nodes):
    assert Launcher.of(nodes, TORCHRUN) == Launcher(1, 2, "node7", 4711)


def test_srun_says_which_start_this_is_and_each_job_step_has_a_port_of_its_own():
    assert Launcher.of(2, SRUN) == Launcher(1, 2, "gpu03", 20000 + (31 * 1000 + 3) % 10000)
    assert Launcher.of(2, {**SRUN, "SLURM_STEP_ID": "4"}).port != Launcher.of(2, SRUN).port


def test_a_single_command_in_a_slurm_job_of_several_tasks_waits_for_nobody():
    assert Launcher.of(1, SRUN) == Launcher(0, 1)


@pytest.mark.parametrize(("environment", "observed"), [({}, "this one alone"), (TORCHRUN, "2 starts")])
def test_fewer_starts_than_nodes_are_an_error_that_says_how_to_start(environment, observed):
    with pytest.raises(RobustftError, match=rf"(?s)3 nodes.*{observed}.*srun --nodes 3 --ntasks 3"):
        Launcher.of(3, environment)


def test_every_start_has_as_many_processes():
    assert Launcher(1, 2).local_world_size(8) == 4
    assert Launcher().local_world_size(3) == 3
    with pytest.raises(RobustftError, match="3 processes cannot be started by 2 commands"):
        Launcher(1, 2).local_world_size(3)


@pytest.mark.parametrize(
    ("hosts", "first"),
    [
        ("vm", "vm"),
        ("a,b", "a"),
        ("gpu[03-05,9]", "gpu03"),
        ("gpu[7,9]-x,other", "gpu7-x"),
        ("node-1.cluster,node-2", "node-1.cluster"),
    ],
)
def test_the_first_host_of_a_list(hosts, first):
    assert first_host(hosts) == first


def test_nodes_change_how_a_training_is_started_and_not_what_it_is(tmp_path):
    one, two = (Plan(toy_config.write(tmp_path / "config", scale=change)) for change in ({}, {"nodes": 2, "bundle": 0}))
    assert {step.settings["nodes"] for step in one.of_kind("train")} == {1}
    assert {step.settings["nodes"] for step in two.of_kind("train")} == {2}
    assert {step.digest for step in one.of_kind("train")} == {step.digest for step in two.of_kind("train")}
    assert not any("nodes" in step.settings for step in two.of_kind("attack"))


def test_a_bundle_on_several_nodes_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"(?s)bundle.*scales/small.yaml.*nodes: 2"):
        Plan(toy_config.write(tmp_path / "config", scale={"nodes": 2, "bundle": 1}))
