"""The repository of old fakes, against a repository of plain lists; the controller of augmentation, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.memory import Controller, Replay

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
