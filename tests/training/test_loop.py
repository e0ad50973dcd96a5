"""The loop: what it logs and saves, that it resumes to the same bits, and how it stops when something goes wrong."""

import contextlib
import dataclasses
import shlex
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan.data.source import DeviceSource, HostSource
from jaxgan.game import Game, LossInput, LossOutput, Net, Player, Update, every
from jaxgan.training.checkpoint import CheckpointError, Checkpoints
from jaxgan.training.log import read_rows
from jaxgan.training.loop import MAX_ROLLBACKS, Outcome, Plan, fit, fit_whole
from jaxgan.training.parallel import configure_backend
from jaxgan.training.program import Carry, Program, Totals, accumulate, averages, init_state
from jaxgan.training.recipe import READY, Recipe, Stage
from tests.commands import TINY, assert_same_arrays, assert_same_run, finish, interrupt, start, timeless

POINTS = np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32)
PICTURES = np.random.default_rng(1).normal(size=(24, 6, 6, 1)).astype(np.float32)


def dense(width: int) -> Net:
    """x [n, 3] -> [n, 3] through `width` hidden units, with a running mean of the input."""

    def init(key: Any) -> Mapping[str, Any]:
        keys = jax.random.split(key)
        params = {
            "into": 0.3 * jax.random.normal(keys[0], (3, width)),
            "out": 0.3 * jax.random.normal(keys[1], (width, 3)),
        }
        return {"params": params, "running": {"mean": jnp.zeros(3)}}

    def apply(variables: Mapping[str, Any], x: Any, key: Any = None, train: bool = True) -> Any:
        output = jnp.tanh(x @ variables["params"]["into"]) @ variables["params"]["out"]
        return output, {"running": {"mean": 0.9 * variables["running"]["mean"] + 0.1 * x.mean(0)}}

    return Net(init, apply)


def convolution() -> Net:
    """Pictures [n, 6, 6, 1] -> [n, 6, 6, 1] by one 3x3 kernel."""

    def init(key: Any) -> Mapping[str, Any]:
        return {"params": {"kernel": 0.3 * jax.random.normal(key, (3, 3, 1, 1))}}

    def apply(variables: Mapping[str, Any], x: Any, key: Any = None, train: bool = True) -> Any:
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            x, variables["params"]["kernel"], (1, 1), "SAME", dimension_numbers=layout
        ), {}

    return Net(init, apply)


def game(
    net: Net,
    optimizer: optax.GradientTransformation | None = None,
    when: Callable[[Any], Any] | None = None,
    spoil: Callable[[LossInput], Any] = lambda inputs: 0.0,
) -> Game:
    """Two players that pull each other: one learns noisy data, the other to undo it, on the steps of `when`."""
    optimizer = optax.adam(1e-2) if optimizer is None else optimizer
    players = {"a": Player(net, optimizer, 0.9), "b": Player(net, optimizer)}

    def run(name: str, params: Mapping[str, Any], inputs: LossInput, x: Any) -> Any:
        return net.apply({"params": params[name], **inputs.variables[name]}, x)

    def loss_a(params: Mapping[str, Any], inputs: LossInput) -> Any:
        x = inputs.batch["x"] + 0.1 * jax.random.normal(inputs.key, inputs.batch["x"].shape)
        output, running = run("a", params, inputs, x)
        value = jnp.mean(jnp.square(output - x)) + spoil(inputs)
        return value, LossOutput({"a": running}, {"seen": inputs.memory["seen"] + 1}, {"step": inputs.step * 1.0})

    def loss_b(params: Mapping[str, Any], inputs: LossInput) -> Any:
        x = run("a", params, inputs, inputs.batch["x"])[0]
        output, running = run("b", params, inputs, x)
        return jnp.mean(jnp.square(output + x)), LossOutput({"b": running}, metrics={"step": inputs.step * 1.0})

    updates = (Update("a", ("a",), loss_a), Update("b", ("b",), loss_b, when))
    return Game(players, updates, memory=lambda key: {"seen": jnp.int32(0)})


def resident(data: np.ndarray, batch_size: int = 4) -> DeviceSource:
    def batch(arrays: Mapping[str, Any], key: Any, step: Any) -> Any:
        index = jax.random.randint(jax.random.fold_in(key, step), (batch_size,), 0, len(data))
        return {"x": jnp.asarray(arrays["x"])[index]}

    return DeviceSource({"x": data}, batch, batch_size)


def streamed(data: np.ndarray, batch_size: int = 4) -> HostSource:
    dataset = grain.MapDataset.range(len(data)).seed(3).shuffle().repeat().map(lambda i: {"x": data[int(i)]})
    return HostSource(dataset.batch(batch_size), lambda raw, key, step: {"x": raw["x"]}, batch_size, num_threads=2)


def recipe(*stages: Stage, **more: Any) -> Recipe:
    """Stages with everything that the loop can draw and judge."""
    values: dict[str, Any] = {
        "prior": lambda key, n, condition: jax.random.normal(key, (n, 3)),
        "generate": lambda state, latent, truncation: state.ema["a"]["into"].sum() * latent,
        "draw": lambda outputs: np.clip(128 + 50 * outputs[:9, :, None], 0, 255).astype(np.uint8),
        "evaluations": {"size": lambda state, key: {"norm": float(optax.tree.norm(state.params)), "n_fake": 3}},
        "best": ("size", "norm", 1),
    }
    return Recipe(stages, **{**values, **more})


def tiny(steps: int = 12, **more: Any) -> Recipe:
    return recipe(Stage(game(dense(4), when=every(3)), steps, resident(POINTS)), **more)


@pytest.fixture(scope="module", autouse=True)
def _programs_are_compiled_once() -> None:
    configure_backend()


PLAN = Plan(log_every=4, sample_every=6, save_every=5, evaluate_every=6, keep=100, devices=1, quiet=True)


def arrays(run: Path, step: int | None = None) -> dict[str, np.ndarray]:
    return Checkpoints(run / "checkpoints").restore_arrays(step)[1]


def test_rows_are_averages_over_the_steps_that_ran(tmp_path: Path) -> None:
    outcome = fit(tiny(14), tmp_path, PLAN, seed=0)
    assert (outcome.step, outcome.stopped, int(outcome.state.step)) == (14, "end", 14)
    rows = [row for row in timeless(tmp_path) if "evaluation" not in row]
    assert [row["step"] for row in rows] == [4, 8, 12, 14]
    # "a" moves at every step, "b" at steps 2, 5, 8, 11; a row averages the steps since the one before
    assert [row["a/step"] for row in rows] == [1.5, 5.5, 9.5, 12.5]
    assert [row.get("b/step") for row in rows] == [2.0, 5.0, 9.5, None]
    assert not any(name.startswith("b/") for name in rows[-1])
    assert not any(name.endswith("/ran") for row in rows for name in row)
    assert int(outcome.state.memory["seen"]) == 14


def test_a_state_is_made_ready_to_be_drawn_and_judged_and_trained_as_it_was(tmp_path: Path) -> None:
    keys: list[Any] = []

    def ready(state: Any, key: Any, truncation: float) -> Any:
        keys.append(jax.random.key_data(key))
        return replace(state, ema={**state.ema, "a": jax.tree.map(jnp.zeros_like, state.ema["a"])})

    judged = {"size": lambda state, key: {"norm": float(optax.tree.norm(state.ema["a"])), "n_fake": 3}}
    plain, prepared = tiny(evaluations=judged), tiny(evaluations=judged, ready=ready)
    for i in range(2):
        (tmp_path / str(i)).mkdir()
    ends = [fit(made, tmp_path / str(i), PLAN, seed=7).state for i, made in enumerate((plain, prepared))]
    assert_same_arrays(*(arrays(tmp_path / str(i)) for i in range(2)))
    norms = [[row["norm"] for row in timeless(tmp_path / str(i)) if "norm" in row] for i in range(2)]
    assert min(norms[0]) > 0.1 and norms[1] == [0.0, 0.0]
    pictures = [(tmp_path / str(i) / "samples/000012.png").read_bytes() for i in range(2)]
    assert pictures[0] != pictures[1]
    assert len(keys) == 5 and all(np.array_equal(key, keys[0]) for key in keys)  # three sheets, two evaluations
    expected = jax.random.fold_in(jax.random.key(7), READY)
    np.testing.assert_array_equal(keys[0], jax.random.key_data(expected))
    zeros = prepared.readied(ends[1], 7).ema["a"]
    assert optax.tree.norm(zeros) == 0 and plain.readied(ends[0], 7) is ends[0]


def test_totals_average_by_hand() -> None:
    totals = Totals(
        {"a/x": jnp.zeros(()), "a/ran": jnp.zeros(())},
        {"a": jnp.zeros(())},
        {n: jnp.int32(-1) for n in ("a/x", "a/ran")},
    )
    for step, (value, ran) in enumerate([(3.0, 1.0), (jnp.nan, 0.0), (5.0, 1.0), (jnp.inf, 1.0), (jnp.nan, 1.0)]):
        totals = accumulate(totals, {"a/x": jnp.float32(value), "a/ran": jnp.float32(ran)}, jnp.int32(step))
        if step == 2:
            assert averages(totals) == {"a/x": 4.0} and int(totals.broken["a/x"]) == -1
    # the first step that was not finite, and was played
    assert int(totals.broken["a/x"]) == 3


def test_what_a_run_leaves(tmp_path: Path) -> None:
    fit(tiny(13, reals=POINTS), tmp_path, PLAN, seed=0)
    assert sorted(p.name for p in (tmp_path / "samples").iterdir()) == [
        "000000.png", "000006.png", "000012.png", "000013.png",
    ]  # fmt: skip
    # due at 5 and 10, scored at 6 and 12, and the last one
    assert Checkpoints(tmp_path / "checkpoints").steps() == [5, 6, 10, 12, 13]
    evaluations = [row for row in timeless(tmp_path) if row.get("evaluation") == "size"]
    assert [row["step"] for row in evaluations] == [6, 12, 13] and evaluations[0]["n_fake"] == 3
    best = min(evaluations, key=lambda row: row["norm"])
    assert Checkpoints(tmp_path / "checkpoints").best() == best["step"]
    assert (tmp_path / "reals.png").exists() and list((tmp_path / "tensorboard").iterdir())


@contextlib.contextmanager
def compilations() -> Iterator[list[str]]:
    """The names of the programs that XLA compiles meanwhile."""
    compiled: list[str] = []

    def note(event: str, duration: float, **details: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(str(details.get("fun_name", event)))

    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        yield compiled
    finally:
        with contextlib.suppress(AttributeError):
            jax.monitoring.unregister_event_duration_listener(note)


KINDS: dict[str, Callable[[int], Stage]] = {
    "looped": lambda steps: Stage(game(dense(4), when=every(3)), steps, resident(POINTS)),
    "stepwise": lambda steps: Stage(game(convolution(), when=every(3)), steps, resident(PICTURES)),
    "streamed": lambda steps: Stage(game(dense(4), when=every(3)), steps, streamed(POINTS)),
}


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_compiled_twice(kind: str, devices: int) -> None:
    program = Program(KINDS[kind](100), devices)
    assert program.stepwise == (kind != "looped")
    state = jax.jit(lambda: init_state(program.stage.game, jax.random.key(0)), out_shardings=program.whole)()
    carry = program.advance(Carry(state, program.empty_totals()), 0, 3)
    with compilations() as compiled, jax.transfer_guard("disallow"):
        for step, count in ((3, 1), (4, 5), (9, 4)):
            carry = program.advance(carry, step, count)
        # what the log does with the totals
        carry = program.advance(Carry(carry.state, program.empty_totals()), 13, 2)
    # what a checkpoint does with all of it
    carry = program.put(jax.device_get(carry))
    with compilations() as compiled_then:
        carry = program.advance(carry, 15, 3)
    assert not compiled and not compiled_then
    assert int(carry.state.step) == 18


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_compiles_in_its_first_interval_only(kind: str, tmp_path: Path) -> None:
    counts = []
    with compilations() as compiled:

        def count(rows: Sequence[Mapping[str, Any]]) -> None:
            counts.append(len(compiled))

        # an evaluation is a program of its own
        fit(Recipe((KINDS[kind](24),), alarm=count), tmp_path, replace(PLAN, save_every=0, evaluate_every=0), seed=0)
    assert counts[0] > 0 and set(counts) == {counts[0]}, compiled


def test_the_transfer_guard_is_on_while_steps_are_played(tmp_path: Path) -> None:
    refused = []

    def when(step: Any) -> bool:
        if isinstance(step, int):
            try:
                jnp.add(np.ones(3, np.float32), 1.0)
                refused.append(False)
            except Exception as error:
                refused.append("Disallowed" in str(error))
        return True

    stage = Stage(game(convolution(), when=when), 6, resident(PICTURES))
    fit(Recipe((stage,)), tmp_path, replace(PLAN, log_every=2), seed=0)
    # the first step compiles, and may move constants
    assert refused == [False] + [True] * 5


@pytest.mark.parametrize("kind", KINDS)
def test_where_the_loop_stops_does_not_matter(kind: str, tmp_path: Path) -> None:
    runs = []
    for i, intervals in enumerate(((0, 0), (1, 7), (5, 3))):
        (tmp_path / str(i)).mkdir()
        plan = replace(PLAN, log_every=intervals[0], save_every=intervals[1])
        fit(Recipe((KINDS[kind](17),)), tmp_path / str(i), plan, seed=4)
        runs.append({n: a for n, a in arrays(tmp_path / str(i), 17).items() if n.startswith("state.")})
    assert_same_arrays(runs[0], runs[1])
    assert_same_arrays(runs[0], runs[2])


def wider(before: Any, fresh: Any) -> Any:
    """The second stage has twice the hidden units; the first half of them continue."""
    params = {
        name: {
            "into": fresh.params[name]["into"].at[:, :4].set(before.params[name]["into"]),
            "out": fresh.params[name]["out"].at[:4].set(before.params[name]["out"]),
        }
        for name in fresh.params
    }
    return replace(fresh, params=params, memory=before.memory)


STAGED: dict[str, Callable[[], Recipe]] = {
    "two stages": lambda: recipe(
        Stage(game(dense(4), when=every(3)), 10, resident(POINTS)),
        Stage(game(dense(8), optax.sgd(0.1)), 18, streamed(POINTS), carry=wider),
    ),
    "stages of all kinds": lambda: Recipe(
        (
            Stage(game(convolution()), 5, resident(PICTURES)),
            Stage(game(dense(4), when=every(2)), 10, resident(POINTS)),
            Stage(game(convolution(), when=every(4)), 18, streamed(PICTURES)),
        )
    ),
}


@pytest.mark.parametrize("kind", STAGED)
def test_a_resumed_run_is_the_uninterrupted_one(kind: str, tmp_path: Path) -> None:
    plan = replace(PLAN, save_every=1)
    (tmp_path / "whole").mkdir()
    assert fit(STAGED[kind](), tmp_path / "whole", plan, seed=2).step == 18
    # inside each stage, and exactly at a boundary
    for stop in (3, 7, 10, 13):
        run = Path(shutil.copytree(tmp_path / "whole", tmp_path / f"from{stop}"))
        for step in range(stop + 1, 19):
            shutil.rmtree(run / "checkpoints" / f"{step:08d}")
        resumed = fit(STAGED[kind](), run, plan, seed=2, resume=True)
        assert (resumed.step, resumed.stopped) == (18, "end")
        if (run / "samples").exists():
            assert_same_run(tmp_path / "whole", run)
        else:
            assert_same_arrays(arrays(tmp_path / "whole"), arrays(run))
            assert timeless(tmp_path / "whole") == timeless(run)


def test_what_is_carried_over(tmp_path: Path) -> None:
    fit(STAGED["two stages"](), tmp_path, replace(PLAN, save_every=1), seed=2)
    before, after = arrays(tmp_path, 10), arrays(tmp_path, 11)
    assert before["state.params.a.into"].shape == (3, 4) and after["state.params.a.into"].shape == (3, 8)
    # memory goes on counting, and one step of gradient descent stays near
    assert (before["state.memory.seen"], after["state.memory.seen"]) == (10, 11)
    np.testing.assert_allclose(after["state.params.a.into"][:, :4], before["state.params.a.into"], atol=0.05)
    np.testing.assert_array_equal(before["state.key"], after["state.key"])
    with pytest.raises(ValueError, match="strictly increasing steps"):
        recipe(*(Stage(game(dense(4)), 5, resident(POINTS)) for _ in range(2)))


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "whole").mkdir()
    fit(tiny(), tmp_path / "whole", replace(PLAN, save_every=3), seed=0)
    run = Path(shutil.copytree(tmp_path / "whole", tmp_path / "damaged"))
    (run / "checkpoints" / "00000012" / "_METADATA").write_text("{}")
    shutil.rmtree(run / "checkpoints" / "00000009")
    fit(tiny(), run, replace(PLAN, save_every=3, quiet=False), seed=0, resume=True)
    assert "checkpoint 00000012 is damaged (_METADATA is damaged)" in capfd.readouterr().err
    assert_same_run(tmp_path / "whole", run)
    for folder in (run / "checkpoints").iterdir():
        (folder / "_METADATA").write_text("{}")
    with pytest.raises(CheckpointError, match="no intact checkpoint"):
        fit(tiny(), run, PLAN, seed=0, resume=True)


def test_another_seed_is_another_run(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / name).mkdir()
        fit(tiny(), tmp_path / name, PLAN, seed)
    assert_same_run(tmp_path / "a", tmp_path / "b")
    assert timeless(tmp_path / "a") != timeless(tmp_path / "c")


@pytest.mark.parametrize("kind", KINDS)
def test_two_devices_agree_with_one_up_to_rounding(kind: str, tmp_path: Path) -> None:
    make = {
        "looped": lambda: Stage(game(dense(4), optax.sgd(0.1), every(3)), 20, resident(POINTS)),
        "stepwise": lambda: Stage(game(convolution(), optax.sgd(0.1), every(3)), 20, resident(PICTURES)),
        "streamed": lambda: Stage(game(dense(4), optax.sgd(0.1), every(3)), 20, streamed(POINTS)),
    }[kind]
    ended = []
    for devices in (1, 2):
        (tmp_path / str(devices)).mkdir()
        fit(Recipe((make(),)), tmp_path / str(devices), replace(PLAN, devices=devices), seed=0)
        ended.append(arrays(tmp_path / str(devices)))
    begun = init_state(make().game, jax.random.key(0)).params["a"]
    moved = [np.abs(ended[0][f"state.params.a.{name}"] - np.asarray(x)).max() for name, x in begun.items()]
    assert max(moved) > 1e-2  # or agreement would mean nothing
    for name, array in ended[0].items():
        np.testing.assert_allclose(ended[1][name], array, rtol=1e-4, atol=1e-5, err_msg=name)


def stopped(made: Recipe, folder: Path, **changes: Any) -> tuple[Outcome, list[dict[str, Any]]]:
    outcome = fit(made, folder, replace(PLAN, log_every=2, save_every=3, **changes), seed=0)
    return outcome, read_rows(folder / "metrics.jsonl")


@pytest.mark.parametrize("convolutional", [False, True])
def test_a_metric_that_is_not_finite_stops_the_run(convolutional: bool, tmp_path: Path) -> None:
    spoiled = game(
        convolution() if convolutional else dense(4),
        spoil=lambda inputs: jnp.where(inputs.step == 7, jnp.nan, 0.0),
    )
    made = Recipe((Stage(spoiled, 20, resident(PICTURES if convolutional else POINTS)),))
    outcome, _ = stopped(made, tmp_path)
    assert outcome.stopped == "nan"
    assert outcome.message == "a/loss was not finite at step 7; last good checkpoint: 6"
    assert Checkpoints(tmp_path / "checkpoints").steps() == [3, 6]
    assert all(np.isfinite(a).all() for a in arrays(tmp_path).values() if a.dtype == np.float32)


def test_a_parameter_that_is_not_finite_is_not_saved(tmp_path: Path) -> None:
    # an optimizer that breaks what it moves, though every loss was finite
    broken = optax.chain(
        optax.sgd(0.1),
        optax.stateless(lambda u, p: jax.tree.map(lambda x: jnp.where(x == x.max(), jnp.inf, x), u)),
    )
    moves = Game(
        {"a": Player(dense(4), broken)},
        (Update("a", ("a",), lambda params, inputs: (jnp.mean(inputs.batch["x"] ** 2), LossOutput())),),
    )
    outcome, _ = stopped(Recipe((Stage(moves, 20, resident(POINTS)),)), tmp_path)
    assert outcome.stopped == "nan"
    assert outcome.message == "a parameter was not finite at step 3; no checkpoint was saved before"


def alarm_from(step: int) -> Callable[[Sequence[Mapping[str, Any]]], str | None]:
    def alarm(rows: Sequence[Mapping[str, Any]]) -> str | None:
        logged = [row for row in rows if "event" not in row and "evaluation" not in row]
        return "all alike" if logged and logged[-1]["step"] >= step else None

    return alarm


def test_a_collapse_is_noted_once(tmp_path: Path) -> None:
    outcome, rows = stopped(tiny(alarm=alarm_from(6)), tmp_path)
    assert outcome.stopped == "end"
    events = [row for row in rows if "event" in row]
    assert [(row["step"], row["event"], row["message"]) for row in events] == [(6, "collapse", "all alike")]


def test_a_collapse_stops_the_run_if_asked_to(tmp_path: Path) -> None:
    outcome, rows = stopped(tiny(alarm=alarm_from(8)), tmp_path, on_collapse="stop")
    assert (outcome.stopped, outcome.step, outcome.message) == ("collapse", 8, "all alike")
    assert rows[-1]["event"] == "collapse"
    assert Checkpoints(tmp_path / "checkpoints").steps() == [3, 6, 8]


def test_a_collapse_that_comes_back_ends_the_run(tmp_path: Path) -> None:
    outcome, rows = stopped(tiny(30, alarm=alarm_from(22)), tmp_path, on_collapse="rollback")
    assert (outcome.stopped, outcome.step) == ("collapse", 22)
    assert outcome.message == f"all alike; gave up after {MAX_ROLLBACKS} rollbacks"
    # to before the five rows that raised the alarm, 14 ... 22
    events = [(row["step"], row["event"]) for row in rows if "event" in row]
    assert events == [(12, "rollback")] * MAX_ROLLBACKS + [(22, "collapse")]
    evaluated = [row["step"] for row in rows if "evaluation" in row]
    assert evaluated == sorted(set(evaluated))


def test_a_rollback_goes_on_with_another_key(tmp_path: Path) -> None:
    alarms = iter([True])

    def alarm(rows: Sequence[Mapping[str, Any]]) -> str | None:
        return "all alike" if rows and rows[-1]["step"] == 14 and next(alarms, False) else None

    for name, made in (("calm", tiny(20)), ("alarmed", tiny(20, alarm=alarm))):
        (tmp_path / name).mkdir()
        assert stopped(made, tmp_path / name, on_collapse="rollback")[0].stopped == "end"
    calm, alarmed = arrays(tmp_path / "calm"), arrays(tmp_path / "alarmed")
    assert not np.array_equal(calm["state.key"], alarmed["state.key"])
    rows = [timeless(tmp_path / name) for name in ("calm", "alarmed")]
    cut = next(i for i, row in enumerate(rows[1]) if row.get("event") == "rollback")
    back_to = rows[1][cut]["step"]
    assert rows[0][:cut] == rows[1][:cut] and back_to < 14
    changed = [r for r in rows[1] if r["step"] > back_to and "a/loss" in r]
    same_steps = [r for r in rows[0] if r["step"] > back_to and "a/loss" in r]
    assert [r["step"] for r in changed] == [r["step"] for r in same_steps] and changed != same_steps


def test_no_checkpoint_to_go_back_to(tmp_path: Path) -> None:
    plan = replace(PLAN, log_every=2, save_every=0, evaluate_every=0, on_collapse="rollback")
    outcome = fit(tiny(30, alarm=alarm_from(4)), tmp_path, plan, seed=0)
    assert outcome.message == "all alike; gave up for want of a checkpoint"


@pytest.fixture
def _heard() -> Iterator[None]:
    """SIGINT as Python has it: a shell that starts the tests in the background has them ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_heard")
def test_the_first_signal_saves_and_the_second_is_somebody_elses(tmp_path: Path) -> None:
    def interrupt_at(step: int) -> Callable[..., None]:
        def alarm(rows: Sequence[Mapping[str, Any]]) -> None:
            if rows[-1]["step"] == step:
                signal.raise_signal(signal.SIGINT)

        return alarm

    before = signal.getsignal(signal.SIGINT)
    outcome, _ = stopped(tiny(alarm=interrupt_at(4)), tmp_path)
    assert (outcome.stopped, outcome.step, outcome.message) == ("SIGINT", 4, "saved at step 4")
    assert Checkpoints(tmp_path / "checkpoints").steps() == [3, 4]
    assert signal.getsignal(signal.SIGINT) is before

    def twice(rows: Sequence[Mapping[str, Any]]) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    (tmp_path / "other").mkdir()
    with pytest.raises(KeyboardInterrupt):
        fit(tiny(alarm=twice), tmp_path / "other", PLAN, seed=0)
    assert signal.getsignal(signal.SIGINT) is before
    # a signal while the last step is played changes nothing
    (tmp_path / "last").mkdir()
    assert fit(tiny(alarm=interrupt_at(12)), tmp_path / "last", PLAN, seed=0).stopped == "end"


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_evaluation_that_is_interrupted_loses_no_training(tmp_path: Path, name: str) -> None:
    def alarm(rows: Sequence[Mapping[str, Any]]) -> None:
        signal.raise_signal(signal.Signals[name])

    def interrupted(state: Any, key: Any) -> dict[str, float]:
        # as a classifier that is trained first, which hears the signal in place of the run
        if int(state.step) == 6:
            (tmp_path / "inner").mkdir()
            fit_whole(tiny(alarm=alarm), tmp_path / "inner", PLAN, seed=1)
        return {"score": 1.0}

    before = signal.getsignal(signal.SIGTERM)
    made = tiny(evaluations={"images": interrupted})
    outcome = fit(made, tmp_path, PLAN, seed=0)
    assert (outcome.stopped, outcome.step) == (name, 6)
    assert signal.getsignal(signal.SIGTERM) is before
    shutil.rmtree(tmp_path / "inner")
    assert outcome.message == "saved at step 6, which was not evaluated"
    assert Checkpoints(tmp_path / "checkpoints").steps() == [5, 6]
    assert fit(tiny(), tmp_path, PLAN, seed=0, resume=True).stopped == "end"
    whole = tmp_path / "whole"
    whole.mkdir()
    fit(tiny(), whole, PLAN, seed=0)
    assert_same_arrays(arrays(tmp_path), arrays(whole))


def test_a_net_that_is_needed_and_breaks_says_so(tmp_path: Path) -> None:
    broken = game(dense(4), spoil=lambda inputs: jnp.where(inputs.step == 2, jnp.nan, 0.0))
    with pytest.raises(CheckpointError, match="broke at step 4: a/loss was not finite at step 2"):
        fit_whole(Recipe((Stage(broken, 4, resident(POINTS)),)), tmp_path, PLAN, seed=0)


def test_an_evaluation_whose_net_breaks_loses_no_training(tmp_path: Path) -> None:
    def broken(state: Any, key: Any) -> dict[str, float]:
        if int(state.step) == 6:
            raise CheckpointError("the training of a net that was needed broke")
        return {"score": 1.0}

    with pytest.raises(CheckpointError, match="that was needed"):
        fit(tiny(evaluations={"images": broken}), tmp_path, PLAN, seed=0)
    assert Checkpoints(tmp_path / "checkpoints").steps() == [5, 6]
    assert fit(tiny(), tmp_path, PLAN, seed=0, resume=True).stopped == "end"


def test_a_slice_of_a_run_ends_in_time_and_the_next_goes_on(tmp_path: Path) -> None:
    whole, sliced = tmp_path / "whole", tmp_path / "sliced"
    whole.mkdir()
    sliced.mkdir()
    fit(tiny(), whole, PLAN, seed=0)
    outcome = fit(tiny(), sliced, replace(PLAN, minutes=1e-9), seed=0)
    assert (outcome.stopped, outcome.step, outcome.message) == ("time", 1, "saved at step 1")
    while outcome.stopped == "time":
        reached = outcome.step
        outcome = fit(tiny(), sliced, replace(PLAN, minutes=1e-9), seed=0, resume=True)
        assert outcome.step > reached
    assert (outcome.stopped, outcome.step) == ("end", 12)
    assert_same_run(whole, sliced)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "samples").write_text("in the way")
    with pytest.raises(CheckpointError, match="could not write to"):
        fit(tiny(), tmp_path, PLAN, seed=0)


INTERRUPTED = {
    "ring": shlex.split(
        "--steps 3000 --save-every 400 --log-every 50 --sample-every 300 --evaluate-every 1000 --keep 2"
    ),
    "dcgan": shlex.split("--steps 900 --save-every 120 --log-every 50 --sample-every 300 --discriminator-steps 2"),
}


@pytest.mark.parametrize("system", INTERRUPTED)
def test_interrupted_and_killed_and_still_the_same(system: str, tmp_path: Path) -> None:
    request = ["train", system, *TINY[system], *INTERRUPTED[system], "--outdir", tmp_path]
    whole, run = tmp_path / "whole", tmp_path / "broken"
    assert finish(start(*request, "--name", "whole")).status == 0

    stopped = interrupt(start(*request, "--name", "broken"), run, signal.SIGTERM, after=1)
    assert stopped.status == 128 + signal.SIGTERM and stopped.out == f"{run}\n"
    assert "interrupted; saved at step" in stopped.err and f"jaxgan resume {run}" in stopped.err
    reached = Checkpoints(run / "checkpoints").steps()[-1]
    assert f"saved at step {reached}" in stopped.err and (run / "report.html").exists()

    stopped = interrupt(start("resume", run), run, signal.SIGINT, after=reached + 1)
    assert stopped.status == 128 + signal.SIGINT and "Traceback" not in stopped.err
    reached = Checkpoints(run / "checkpoints").steps()[-1]

    assert interrupt(start("resume", run), run, signal.SIGKILL, after=reached + 1).status == -signal.SIGKILL
    ended = finish(start("resume", run))
    assert ended.status == 0 and ended.out == f"{run}\n"
    assert_same_run(whole, run)


@pytest.mark.slow
def test_thousands_of_steps_on_two_devices_do_not_deadlock(tmp_path: Path) -> None:
    stage = Stage(game(convolution(), optax.sgd(1e-3)), 5000, resident(PICTURES))
    outcome = fit(Recipe((stage,)), tmp_path, Plan(log_every=0, devices=2, quiet=True), seed=0)
    assert outcome.step == 5000


def test_outcome_and_plan_are_plain_values() -> None:
    assert dataclasses.asdict(Plan())["on_collapse"] == "warn"
