"""Repositories of old fakes, against plain lists; the controller of augmentation, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxgan.memory import Controller, ImagePool, Replay

BATCH, CAPACITY = 6, 7


def numbered(step: int) -> tuple[jax.Array, tuple[jax.Array]]:
    """Fakes that say when and where they were made, and labels that go with them."""
    made = 10.0 * step + jnp.arange(BATCH, dtype=jnp.float32)
    return jnp.stack([made, -2.0 * made], axis=1), (jnp.int32(made),)


@pytest.fixture(scope="module")
def played():
    """What was shown at each of twenty steps, and the memory after it."""
    replay = Replay(CAPACITY)
    memory, rows = replay.empty(jax.eval_shape(numbered, 0)), []
    draw = jax.jit(replay.draw)
    for step in range(20):
        shown, memory = draw(memory, numbered(step), jax.random.fold_in(jax.random.key(3), step))
        rows.append((jax.device_get(shown), jax.device_get(memory)))
    return rows


def test_the_first_half_is_new_and_the_second_old_or_new(played):
    for step, ((points, _), _) in enumerate(played):
        new = np.asarray(numbered(step)[0])
        np.testing.assert_array_equal(points[:3], new[:3])
        old = points[3:, 0] < 10 * step
        np.testing.assert_array_equal(points[3:][~old], new[3:][~old])
        if step == 0:
            assert not old.any()
    # seven places are filled three at a time: from here on nothing but old fakes is drawn
    assert all((points[3:, 0] < 10 * step).all() for step, ((points, _), _) in enumerate(played) if step > 12)


def test_what_is_drawn_leaves_and_is_replaced(played):
    """Against a list: each fake that was kept is shown at most once, exactly as it was made."""
    kept: list[float] = []
    for step, ((points, _), memory) in enumerate(played):
        for value in points[3:, 0]:
            if value < 10 * step:
                kept.remove(float(value))
        kept += [float(v) for v in np.asarray(numbered(step)[0])[3:, 0]]
        for value in points[3:, 0]:
            if value >= 10 * step:
                assert float(value) in kept
        assert memory["filled"].sum() == len(kept) <= CAPACITY
        places = np.asarray(memory["places"][0]).view(np.float32)[memory["filled"] > 0]
        assert sorted(places[:, 0].tolist()) == sorted(kept)


def test_labels_travel_with_their_fakes(played):
    for (points, (labels,)), _ in played:
        np.testing.assert_array_equal(labels, points[:, 0].astype(np.int32))
        np.testing.assert_array_equal(points[:, 1], -2 * points[:, 0])


def test_old_fakes_carry_no_gradient_and_no_floating_memory():
    replay = Replay(CAPACITY)
    memory = replay.empty((jnp.zeros((BATCH, 2)),))
    _, memory = replay.draw(memory, (jnp.ones((BATCH, 2)),), jax.random.key(0))
    memory = {**memory, "filled": jnp.ones_like(memory["filled"])}
    gradient = jax.grad(lambda x: jnp.sum(replay.draw(memory, (x,), jax.random.key(1))[0][0]))(jnp.zeros((BATCH, 2)))
    np.testing.assert_array_equal(gradient, np.repeat([[1.0], [0.0]], 3, axis=0) * np.ones(2))
    # floating memory would be averaged over devices
    assert all(jnp.issubdtype(leaf.dtype, jnp.integer) for leaf in jax.tree.leaves(memory))


def test_a_repository_smaller_than_half_a_batch_is_refused():
    with pytest.raises(ValueError, match="a replay of 2 is less than half a batch, 3"):
        Replay(2).empty((jnp.zeros((BATCH, 2)),))


# -- the pool of CycleGAN ---------------------------------------------------------------------------

POOL, GROUPS, DRAWS = 8, 2, 60


@pytest.fixture(scope="module")
def pooled():
    """What was shown at each of sixty steps, three new fakes for each of two groups, and the memory after it."""
    pool = ImagePool(POOL, GROUPS)
    memory, rows = pool.empty(jax.eval_shape(numbered, 0)), []
    draw = jax.jit(pool.draw)
    for step in range(DRAWS):
        shown, memory = draw(memory, numbered(step), jax.random.fold_in(jax.random.key(8), step))
        rows.append((jax.device_get(shown), jax.device_get(memory)))
    return rows


def kept_in(memory, group):
    """The fakes in a group's pool, by what says when and where they were made."""
    return memory["places"][0].view(np.float32)[group, : memory["filled"][group], 0].tolist()


def test_a_pool_fills_in_order_and_shows_what_is_new_until_it_is_full(pooled):
    for step in range(3):
        (points, _), memory = pooled[step]
        np.testing.assert_array_equal(points, numbered(step)[0])
        assert memory["filled"].tolist() == [min(3 * (step + 1), POOL)] * 2
        for group in range(GROUPS):
            made = [10.0 * s + 3 * group + i for s in range(step + 1) for i in range(3)]
            assert kept_in(memory, group) == made[:POOL]  # the ninth has no place


def test_what_a_pool_shows_and_keeps_is_what_it_had_and_what_is_new(pooled):
    """Nothing is lost and nothing doubled: an old fake that is shown leaves, and the new one is in its place."""
    for step in range(3, DRAWS):
        (points, _), memory = pooled[step]
        for group in range(GROUPS):
            before, after = kept_in(pooled[step - 1][1], group), kept_in(memory, group)
            shown = points[3 * group : 3 * group + 3, 0].tolist()
            new = np.asarray(numbered(step)[0])[3 * group : 3 * group + 3, 0].tolist()
            assert sorted(after + shown) == sorted(before + new)
            for place, (old, now) in enumerate(zip(before, after, strict=True)):
                assert now == old or (now in new and old in shown), place
            for i, value in enumerate(shown):
                if value == new[i]:
                    assert value not in after
                else:
                    assert after[before.index(value)] == new[i]
        assert memory["filled"].tolist() == [POOL] * 2


def test_a_full_pool_shows_an_old_fake_for_half_of_the_new_ones(pooled):
    shown = np.array([points[:, 0] for (points, _), _ in pooled[3:]])
    old = shown < 10.0 * np.arange(3, DRAWS)[:, None]
    for places in (old, old[:, :3], old[:, 3:], *old.T[:, :, None]):
        low, high = scipy.stats.binom.interval(1 - 1e-4, places.size, 0.5)
        assert low <= places.sum() <= high
    # coins and places of the two groups are their own
    assert (old[:, :3] != old[:, 3:]).mean() > 0.3
    # any place is as likely: a fake stays about as long as a place of eight that is drawn with 3/16 a step
    waited = np.concatenate([(10 * s - shown[s - 3]) // 10 + 1 for s in range(30, DRAWS)])
    waited = waited[waited > 0]
    assert 3.5 < waited.mean() < 8.0 and waited.max() > 10


def test_groups_never_mix_and_labels_travel_with_their_fakes(pooled):
    for (points, (labels,)), memory in pooled:
        np.testing.assert_array_equal(labels, points[:, 0].astype(np.int32))
        np.testing.assert_array_equal(points[:, 1], -2 * points[:, 0])
        np.testing.assert_array_equal(points[:, 0] % 10 >= 3, [False] * 3 + [True] * 3)
        for group in range(GROUPS):
            assert {int(value % 10) // 3 for value in kept_in(memory, group)} == {group}
            places = memory["places"][1][0][group, : memory["filled"][group]]
            assert places.tolist() == [int(value) for value in kept_in(memory, group)]


def test_a_pool_is_bits_for_every_type_and_a_function_of_what_it_is_given():
    random = np.random.default_rng(0)
    fakes = (
        jnp.asarray(random.normal(size=(4, 2, 3)), jnp.float32).at[0, 0, 0].set(-0.0),
        jnp.asarray(random.integers(0, 256, (4, 2)), jnp.uint8),
        jnp.asarray(random.integers(-5, 5, 4), jnp.int32),
    )
    pool = ImagePool(4)
    empty = pool.empty(jax.eval_shape(lambda: fakes))
    assert [leaf.dtype for leaf in empty["places"]] == [jnp.int32, jnp.uint8, jnp.int32]
    assert all(jnp.issubdtype(leaf.dtype, jnp.integer) for leaf in jax.tree.leaves(empty))
    _, full = pool.draw(empty, fakes, jax.random.key(0))
    nothing = jax.tree.map(jnp.zeros_like, fakes)
    runs = [pool.draw(full, nothing, jax.random.key(seed)) for seed in (1, 1, 2)]
    jax.tree.map(np.testing.assert_array_equal, runs[0], runs[1])
    assert any(not np.array_equal(one, other) for one, other in zip(*map(jax.tree.leaves, runs[1:]), strict=True))
    # what comes out of it is what went in, bit for bit
    for shown, _ in runs:
        old = np.flatnonzero(np.asarray(shown[0]).any(axis=(1, 2)))
        assert 0 < len(old) < 4
        for i in old:
            (j,) = np.flatnonzero((np.asarray(fakes[0]) == np.asarray(shown[0][i])).all(axis=(1, 2)))
            for was, now in zip(fakes, shown, strict=True):
                assert np.asarray(was)[j].tobytes() == np.asarray(now)[i].tobytes() and was.dtype == now.dtype


def test_pooled_fakes_carry_no_gradient():
    pool = ImagePool(6)
    memory = pool.draw(pool.empty((jnp.zeros((6, 2)),)), (jnp.ones((6, 2)),), jax.random.key(0))[1]
    (shown,), _ = pool.draw(memory, (jnp.zeros((6, 2)),), jax.random.key(1))
    gradient = jax.grad(lambda x: jnp.sum(pool.draw(memory, (x,), jax.random.key(1))[0][0]))(jnp.zeros((6, 2)))
    np.testing.assert_array_equal(gradient, 1 - shown)
    assert 0 < np.sum(shown) < 12


def test_a_pool_holds_a_batch_and_groups_divide_it():
    with pytest.raises(ValueError, match="a pool of 2 is less than the 3 fakes of a batch"):
        ImagePool(2, groups=2).empty((jnp.zeros((6, 2)),))
    with pytest.raises(ValueError, match="4 pools do not divide a batch of 6"):
        ImagePool(9, groups=4).empty((jnp.zeros((6, 2)),))


# -- the controller of augmentation -----------------------------------------------------------------


def test_the_controller_follows_the_sign_of_what_it_saw_before():
    """By hand: batches of 50 in 1,000 images move it by 0.05, towards more where r lies above the target."""
    controller = Controller(50)
    memory, probability, sign = controller.start(), 0.0, 0.0
    rising = [jnp.array([3.0, 0.1, 2.0, 8.0])] * 6
    falling = [jnp.array([[-3.0, 0.1], [-2.0, -8.0]])] * 9
    seen = []
    for logits in (*rising, *falling):
        memory = controller.after(memory, logits, 0.6, 1000.0)
        probability = min(1.0, max(0.0, probability + 0.05 * np.sign(sign - 0.6)))
        sign += (float(np.mean(np.sign(logits))) - sign) / 4
        np.testing.assert_allclose(memory["probability"], probability, atol=1e-6)
        np.testing.assert_allclose(memory["sign"], sign, rtol=1e-5)
        seen.append(probability)
    # r passes 0.6 after its fourth step, and p moves one step later; it ends where it began
    np.testing.assert_allclose(seen[:6], [0, 0, 0, 0, 0.05, 0.1], atol=1e-6)
    assert max(seen) == pytest.approx(0.15) and seen[-1] == 0.0
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(memory))


def test_the_controller_stays_a_probability():
    memory = {"probability": jnp.float32(0.98), "sign": jnp.float32(0.9)}
    for _ in range(3):
        memory = Controller(50).after(memory, jnp.ones(4), 0.6, 1000.0)
    assert memory["probability"] == 1.0
