"""The benchmark of accelerators where there is none."""

import json
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import benchmark_accelerator
import benchmark_cpu
import image_workloads
import jax
import numpy as np
import pytest

from jaxgan.game import every
from tests.commands import REPOSITORY, environment


def call(*flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(REPOSITORY / "experiments" / "benchmark_accelerator.py"), *flags]
    return subprocess.run(command, capture_output=True, text=True, env=environment(JAX_PLATFORMS="cpu"), timeout=300)


def test_without_an_accelerator_it_refuses_in_one_line(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    done = call("--out", str(out))
    assert done.returncode == 2 and not out.exists() and not done.stdout
    assert len(done.stderr.splitlines()) == 1 and "no accelerator here" in done.stderr


def test_the_pending_rows_are_written_on_request_alone(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert call("--pending", "--only", "biggan", "--out", str(out)).returncode == 0
    rows = json.loads(out.read_text())["rows"]
    assert all(row["measured"] is None for row in rows)
    assert {row["method"] for row in rows} == {
        f"{name}, {precision}"
        for name in image_workloads.IMAGE_WORKLOADS
        if name.startswith("biggan")
        for precision in ("float32", "bfloat16")
    }
    assert {"peak memory, GiB", "examples a second", "share of the measured peak"} <= {row["metric"] for row in rows}


def test_a_trace_of_the_steps(tmp_path: Path) -> None:
    done = call("--smoke", "--only", "r3gan-64x64", "--profile", str(tmp_path / "traces"))
    assert done.returncode == 0, done.stderr
    assert "2 steps traced" in done.stderr
    assert list((tmp_path / "traces").rglob("*.xplane.pb"))


def test_the_penalty_comes_at_its_interval() -> None:
    workload = image_workloads.tiny_images(image_workloads.IMAGE_WORKLOADS["stylegan2-64x64-64"])
    (when,) = (u.when for u in image_workloads.our_stage(workload).game.updates if u.name == "regularization")
    assert when is not None and [bool(when(step)) for step in range(4)] == [True, False, True, False]
    assert benchmark_accelerator.period(workload) == 2
    assert benchmark_accelerator.period(image_workloads.IMAGE_WORKLOADS["stylegan2-64x64-64"]) == 16
    every_step = image_workloads.our_stage(
        image_workloads.tiny_images(image_workloads.IMAGE_WORKLOADS["r3gan-64x64-64"])
    )
    assert [u.name for u in every_step.game.updates] == ["discriminator", "generator"]


def test_operations_are_the_mean_over_a_period() -> None:
    stage = benchmark_cpu.our_stage(benchmark_cpu.tiny(benchmark_cpu.WORKLOADS["ring-64"]))
    first, second = stage.game.updates
    rare = replace(stage, game=replace(stage.game, updates=(first, replace(second, when=every(2, offset=0)))))
    alone = replace(stage, game=replace(stage.game, updates=(first,)))
    whole, less = (benchmark_accelerator._operations(one, 1) for one in (stage, alone))
    assert 0 < less < whole
    assert benchmark_accelerator._operations(rare, 2) == pytest.approx((whole + less) / 2, rel=0.02)


def test_stylegan2_for_256_pixels_has_the_parameters_of_its_authors() -> None:
    nets = image_workloads.our_nets(image_workloads.IMAGE_WORKLOADS["stylegan2-256x256-16"])
    trees = [jax.eval_shape(net.init, jax.random.key(0))["params"] for net in nets]
    counts = [sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree)) for tree in trees]
    # of each layer as NVlabs/stylegan2-ada-pytorch lists it at the start of training
    mapping, wide, colours = 262_656, 2_622_465, 264_195
    generator = 8 * mapping + 8192 + 7 * wide + 4 * colours
    generator += 1_442_561 + 721_409 + 132_099 + 426_369 + 213_249 + 66_051 + 139_457 + 69_761 + 33_027
    channels = [64, 128, 256, 512, 512, 512, 512]
    blocks = sum(n * m + 9 * n * n + n + 9 * n * m + m for n, m in pairwise(channels))
    discriminator = 3 * 64 + 64 + blocks + 9 * 513 * 512 + 512 + 16 * 512 * 512 + 512 + 512 + 1
    assert counts == [generator, discriminator]
