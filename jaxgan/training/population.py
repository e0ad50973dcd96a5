"""Many runs in one compiled program: members that differ in seed and in numbers, laid over the machine.

A stacked tree has a leading axis of members on every array but `State.step`, which all share: with
the step unbatched, `Update.when` stays a branch instead of a select that runs both sides.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, PartitionSpec, SingleDeviceSharding

from jaxgan.arrays import Array
from jaxgan.game import State
from jaxgan.training.recipe import Recipe

AXIS = "member"
# Floating-point operations of one member's step, below which stepping members together is faster on CPU: half
# again as fast at 1e7, equal at 2e8, a fifth slower at 5e8 (two cores, nets of matrix products)
WORTH_VMAP_ON_CPU = 2e8


@dataclass(frozen=True)
class Member:
    """One run of a population.

    number: its place in the population; values: what was varied, by name.
    recipe: what it would be alone. Its games are not compiled: its numbers (`Stage.hyper`) and, where data
        are streamed, its sources are used.
    """

    number: int
    seed: int
    recipe: Recipe
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Group:
    """Members that one program plays, that of `recipe`: they differ in seed and in the numbers of `Stage.hyper`."""

    recipe: Recipe
    members: tuple[Member, ...]


@dataclass(frozen=True)
class Layout:
    """How members are laid over the machine: `width` side by side (vmap) on each of `devices`.

    What does not fit into one call is played in `rounds` calls, one after another; the last
    one is filled up with copies of the last member, on devices that would have nothing to do.
    """

    members: int
    devices: int
    width: int

    @property
    def lanes(self) -> int:
        return self.devices * self.width

    @property
    def rounds(self) -> int:
        return -(-self.members // self.lanes)

    def indices(self, call: int) -> np.ndarray:
        """The members int32 [lanes] that call number `call` plays."""
        return np.minimum(np.arange(self.lanes) + call * self.lanes, self.members - 1).astype(np.int32)

    def place(self, member: int) -> tuple[int, int]:
        """(call, lane) of a member."""
        return divmod(member, self.lanes)


def choose_layout(
    members: int, requested: int | None, platform: str, operations: float, convolutional: bool = False
) -> Layout:
    """The layout for `members` runs, whose steps take so many floating-point operations each.

    It follows from the machine and the program alone, never from a clock, so that a resumed
    population computes what the uninterrupted one would have. Devices share out the members
    and never speak to one another. Accelerators step all members together. So does one CPU core
    while steps are light; heavy steps fill it by themselves, and convolutions with weights of
    their own for every member are slow.
    """
    available = len(jax.local_devices())
    if requested is not None and not 1 <= requested <= available:
        raise ValueError(f"--devices {requested}: this machine offers 1 to {available} ({platform})")
    devices = min(requested or available, members)
    together = platform != "cpu" or (operations < WORTH_VMAP_ON_CPU and not convolutional)
    return Layout(members, devices, -(-members // devices) if together else 1)


def member_mesh(devices: Sequence[jax.Device]) -> Mesh:
    return jax.make_mesh((len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)


def each(function: Callable[[Any], Any], tree: Any, step: Callable[[Any], Any] = lambda step: step) -> Any:
    """A stacked tree with `function` applied to every array but the shared step, which becomes ``step(step)``."""

    def one(node: Any) -> Any:
        if not isinstance(node, State):
            return function(node)
        return replace(jax.tree.map(function, replace(node, step=None)), step=step(node.step))  # type: ignore[arg-type]

    return jax.tree.map(one, tree, is_leaf=lambda node: isinstance(node, State))


def axes(tree: Any) -> Any:
    """The vmap axes of a stacked tree, or of a tree that is to be stacked."""
    return each(lambda _: 0, tree, lambda _: None)


def over_lanes(play: Callable[..., Any], layout: Layout, mesh: Mesh, own_arrays: bool) -> Callable[[Any, Any], Any]:
    """``play(carry, arrays, *shared) -> carry`` of one member, as a function of a carry stacked over all lanes.

    own_arrays: whether `arrays` have an axis of lanes too, or are the same for all.
    """

    def on_one_device(carry: Any, arrays: Any, *shared: Any) -> Any:
        if layout.width == 1:
            own = jax.tree.map(lambda x: x[0], arrays) if own_arrays else arrays
            return each(lambda x: x[None], play(each(lambda x: x[0], carry), own, *shared))
        along = axes(carry)
        return jax.vmap(play, (along, 0 if own_arrays else None, *[None] * len(shared)), along)(carry, arrays, *shared)

    def on_all(carry: Any, arrays: Any, *shared: Any) -> Any:
        whole, parts = PartitionSpec(), PartitionSpec(AXIS)
        along = specifications(carry)
        inputs = (along, parts if own_arrays else whole, *[whole] * len(shared))
        # without check_vma, whose sums over devices nobody here wants: members do not speak to one another
        return jax.shard_map(on_one_device, mesh=mesh, in_specs=inputs, out_specs=along, check_vma=False)(
            carry, arrays, *shared
        )

    return on_all if layout.devices > 1 else on_one_device


def specifications(tree: Any) -> Any:
    """How a stacked tree is laid over a `member_mesh`."""
    return each(lambda _: PartitionSpec(AXIS), tree, lambda _: PartitionSpec())


@jax.jit
def _take(tree: Any, index: Array) -> Any:
    return each(lambda x: x[index], tree, jnp.copy)


@jax.jit
def _joined(trees: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *xs: jnp.concatenate(xs) if xs[0].ndim else xs[0], *trees)


@jax.jit
def finite(tree: Any) -> Array:
    """Which members of a stacked tree have finite values only, bool [members]."""
    parts = [
        jnp.isfinite(x).reshape(len(x), -1).all(1)
        for x in jax.tree.leaves(tree)
        if x.ndim and jnp.issubdtype(x.dtype, jnp.floating)
    ]
    return jnp.stack(parts).all(0)


def collect(calls: Sequence[Any], layout: Layout) -> Any:
    """What the calls play as one tree stacked over the members [members, ...], on the first device."""
    here = SingleDeviceSharding(jax.local_devices()[0])
    joined = _joined([jax.device_put(tree, here) for tree in calls])
    return _take(joined, np.arange(layout.members, dtype=np.int32))


def spread(stacked: Any, layout: Layout, mesh: Mesh) -> tuple[Any, ...]:
    """The inverse of `collect`: a tree for each call, stacked over its lanes and laid over the devices."""
    stacked = jax.device_put(stacked, SingleDeviceSharding(jax.local_devices()[0]))
    shardings = jax.tree.map(lambda spec: jax.NamedSharding(mesh, spec), specifications(stacked))
    return tuple(jax.device_put(_take(stacked, layout.indices(call)), shardings) for call in range(layout.rounds))


def member_of(stacked: Any, index: int) -> Any:
    """One member's tree out of a stacked one."""
    return _take(stacked, np.int32(index))


def copies(tree: Any, members: int) -> Any:
    """A stacked tree of equal members."""
    return each(lambda x: jnp.stack([x] * members), tree)
