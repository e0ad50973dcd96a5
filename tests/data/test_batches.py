from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.data import batches, domains, folders, images, pairs
from jaxgan.data.domains import Domains
from jaxgan.data.pairs import Pairs
from jaxgan.data.pixels import Lazy
from jaxgan.data.source import DeviceSource, HostSource
from jaxgan.data.transformations import TRANSFORMATIONS
from tests.data.files import lazily, noise

KEY = jax.random.key(7)
HAS = np.array([[1, 0], [0, 0], [1, 1], [0, 1], [1, 0]])

# --- images


def test_device_batches(classes_folder):
    data = folders.folder(classes_folder)
    source = batches.image_batches(data, 4, seed=0)
    assert isinstance(source, DeviceSource) and source.arrays["image"].dtype == np.uint8
    step = jax.jit(source.batch)
    seen = []
    for s in range(3):  # two epochs of six
        batch = step(source.arrays, KEY, s)
        assert set(batch) == {"image", "label", "index"}
        assert batch["image"].dtype == jnp.float32 and batch["image"].shape == (4, 8, 8, 3)
        assert batch["label"].dtype == batch["index"].dtype == jnp.int32
        index = np.asarray(batch["index"])
        np.testing.assert_allclose(batch["image"], data.image[index] / 127.5 - 1, atol=1e-6)
        np.testing.assert_array_equal(batch["label"], data.label[index])
        seen += index.tolist()
    assert sorted(seen[:6]) == sorted(seen[6:]) == list(range(6))


def test_unlabelled_batches_have_no_label(tmp_path):
    source = batches.image_batches(images.from_arrays("x", noise(3, 4, 4)), 2, seed=0)
    assert set(source.batch(source.arrays, KEY, jnp.asarray(0))) == {"image", "index"}


def test_host_batches_from_lazy_images(classes_folder):
    memory, lazy = folders.folder(classes_folder), folders.folder(classes_folder, limit_bytes=0)
    source = batches.image_batches(lazy, 4, seed=5)
    assert isinstance(source, HostSource)
    iterator = source.iterate(0)
    raw = [next(iterator) for _ in range(6)]
    seen = []
    for s, arrays in enumerate(raw):
        assert arrays["image"].dtype == np.uint8 and arrays["image"].shape == (4, 8, 8, 3)
        batch = jax.jit(source.batch)(arrays, KEY, s)
        assert batch["index"].dtype == batch["label"].dtype == jnp.int32
        index = np.asarray(batch["index"])
        np.testing.assert_allclose(batch["image"], memory.image[index] / 127.5 - 1, atol=1e-6)
        np.testing.assert_array_equal(batch["label"], memory.label[index])
        seen += index.tolist()
    epochs = np.array(seen).reshape(4, 6)
    np.testing.assert_array_equal(np.sort(epochs, axis=1), np.tile(np.arange(6), (4, 1)))
    resumed = source.iterate(3)
    for s in range(3, 6):
        np.testing.assert_array_equal(next(resumed)["index"], raw[s]["index"])
    other = batches.image_batches(lazy, 4, seed=6).iterate(0)
    assert [next(other)["index"].tolist() for _ in range(6)] != [arrays["index"].tolist() for arrays in raw]


def test_flips_mirror_about_half_anew_each_step():
    data = images.from_arrays("x", noise(1, 4, 4))
    plain, source = batches.image_batches(data, 200, seed=0), batches.image_batches(data, 200, seed=0, flip=True)
    image = plain.batch(plain.arrays, KEY, jnp.asarray(0))["image"][0]
    masks = []
    for s in range(2):
        flipped = np.asarray(jax.jit(source.batch)(source.arrays, KEY, s)["image"])
        same, mirrored = (np.isclose(flipped, x).all((1, 2, 3)) for x in (image, image[:, ::-1]))
        assert (same ^ mirrored).all() and 60 < mirrored.sum() < 140
        masks.append(mirrored)
    assert 60 < (masks[0] ^ masks[1]).sum() < 140


def test_batch_size_is_checked():
    with pytest.raises(ValueError, match="batch_size"):
        batches.image_batches(images.from_arrays("x", noise(3, 4, 4)), 0, seed=0)


@pytest.mark.parametrize("lazy", [False, True])
def test_batches_hold_the_attributes_of_their_images(lazy):
    image = np.arange(5, dtype=np.uint8)[:, None, None, None].repeat(8, 1).repeat(8, 2)
    data = images.from_arrays("faces", image, attribute=HAS, attributes=["a", "b"])
    if lazy:
        data = replace(data, image=Lazy(lambda i: image[i], image.shape))
    source = batches.image_batches(data, 3, seed=1)
    arrays = source.arrays if isinstance(source, DeviceSource) else source.dataset[0]
    batch = source.batch(arrays, jax.random.key(0), jnp.asarray(0))
    assert set(batch) == {"image", "index", "attribute"} and batch["attribute"].shape == (3, 2)
    np.testing.assert_array_equal(batch["attribute"], HAS[np.asarray(batch["index"])])


# --- pairs and domains


def coded(n: int, side: int, channels: int = 3) -> np.ndarray:
    """Pictures whose pixels say where they are: row, column and number, uint8 [n, side, side, channels]."""
    image = np.stack(np.broadcast_arrays(*np.mgrid[:n, :side, :side]), -1)
    return image[..., [1, 2, 0]][..., :channels].astype(np.uint8)


def levels(image) -> np.ndarray:
    return np.rint((np.asarray(image) + 1) * 127.5).astype(int)


def shifted(length: int, by: int) -> np.ndarray:
    """range(length) shifted, its borders mirrored: by numpy's padding."""
    return np.pad(np.arange(length), length, mode="symmetric")[length + by : 2 * length + by]


def test_pair_batches_visit_every_pair_once_an_epoch(colours):
    made = pairs.aligned(colours, "canny")
    source = batches.pair_batches(made, 6, seed=0)
    assert isinstance(source, DeviceSource) and source.arrays["source"].dtype == np.uint8
    step, seen = jax.jit(source.batch), []
    for s in range(7):
        batch = step(source.arrays, KEY, s)
        assert set(batch) == {"source", "target", "label", "index"}
        index = np.asarray(batch["index"])
        assert batch["source"].dtype == batch["target"].dtype == jnp.float32 and index.dtype == np.int32
        np.testing.assert_array_equal(levels(batch["source"]), made.source[index])
        np.testing.assert_array_equal(levels(batch["target"]), made.target[index])
        np.testing.assert_array_equal(batch["label"], made.label[index])
        seen += index.tolist()
    assert sorted(seen[:21]) == sorted(seen[21:]) == list(range(21)) and seen[:21] != seen[21:]
    plain = batches.image_batches(colours, 6, seed=0)
    np.testing.assert_array_equal(plain.batch(plain.arrays, KEY, jnp.asarray(1))["index"], seen[6:12])
    unlabelled = batches.pair_batches(replace(made, label=None, test_label=None, classes=()), 2, seed=0)
    assert set(unlabelled.batch(unlabelled.arrays, KEY, jnp.asarray(0))) == {"source", "target", "index"}


@pytest.mark.parametrize(("factor", "jitter", "flip"), [(1, 3, True), (1, 11, False), (4, 2, True), (2, 0, True)])
def test_both_halves_of_a_pair_move_alike(factor, jitter, flip):
    n, side = 40, 12
    target = coded(n, side * factor)
    data = Pairs("coded", coded(n, side, 2), target, None, None, None, None, (), "")
    source = batches.pair_batches(data, 200, 0, flip, jitter)
    moves = set()
    for s in range(2):
        batch = jax.jit(source.batch)(source.arrays, KEY, s)
        for small, large, i in zip(levels(batch["source"]), levels(batch["target"]), batch["index"], strict=True):
            assert (large[..., 2] == i).all()
            rows, columns = small[:, 0, 0], small[0, :, 1]
            assert (small[..., 0] == rows[:, None]).all() and (small[..., 1] == columns[None]).all()
            by = range(-jitter, jitter + 1)
            # by half a period another shift looks like a mirrored one: rows have no mirror, columns may
            down = [d for d in by if (shifted(side, d) == rows).all()]
            right = [
                (d, m)
                for d in by
                for m in ((False, True) if flip else (False,))
                if (shifted(side, d)[:: -1 if m else 1] == columns).all()
            ]
            assert down and right
            fits = [
                (d, r, m)
                for d in down
                for r, m in right
                if (shifted(side * factor, d * factor) == large[:, 0, 0]).all()
                and (shifted(side * factor, r * factor)[:: -1 if m else 1] == large[0, :, 1]).all()
            ]
            assert fits
            moves.add(fits[0])
    for axis in range(2):
        assert {move[axis] for move in moves} == set(range(-jitter, jitter + 1))
    assert len({move[2] for move in moves}) == 1 + flip
    # each on its own
    assert len(moves) > min(150, (2 * jitter + 1) ** 2 * (1 + flip) - 1)


def test_a_small_source_stays_the_reduced_target():
    data = pairs.aligned(images.from_arrays("x", noise(9, 16, 16, 3)), "low_resolution")
    source = batches.pair_batches(data, 30, 0, flip=True, jitter=3)
    batch = source.batch(source.arrays, KEY, jnp.asarray(0))
    target = levels(batch["target"]).astype(np.uint8)
    np.testing.assert_array_equal(TRANSFORMATIONS["low_resolution"](target), levels(batch["source"]))
    assert (target != data.target[np.asarray(batch["index"])]).any((1, 2, 3)).mean() > 0.8


def both(colours) -> Domains:
    """Domains of different lengths, one of them labelled, of pictures that say which they are."""
    a = images.from_arrays("a", coded(15, 10), np.arange(15) % 4)
    return domains.joined(a, images.from_arrays("b", 255 - coded(21, 10)))


def test_domain_batches_have_two_orders(colours):
    two = both(colours)
    source = batches.domain_batches(two, 5, seed=0)
    assert isinstance(source, DeviceSource)
    step, seen = jax.jit(source.batch), []
    for s in range(21):
        batch = step(source.arrays, KEY, s)
        assert set(batch) == {"a", "b", "a_index", "b_index", "a_label"}
        a, b = np.asarray(batch["a_index"]), np.asarray(batch["b_index"])
        np.testing.assert_array_equal(levels(batch["a"]), two.a.image[a])
        np.testing.assert_array_equal(levels(batch["b"]), two.b.image[b])
        np.testing.assert_array_equal(batch["a_label"], two.a.label[a])
        seen.append((a, b))
    a, b = np.concatenate([one[0] for one in seen]), np.concatenate([one[1] for one in seen])
    np.testing.assert_array_equal(np.sort(a.reshape(7, 15)), np.tile(np.arange(15), (7, 1)))
    np.testing.assert_array_equal(np.sort(b.reshape(5, 21)), np.tile(np.arange(21), (5, 1)))
    equal = domains.joined(two.b, two.b)
    source = batches.domain_batches(equal, 21, seed=0)
    batch = source.batch(source.arrays, KEY, jnp.asarray(3))
    assert (np.asarray(batch["a_index"]) == np.asarray(batch["b_index"])).sum() < 8


def test_the_moves_of_two_domains_are_independent():
    image = coded(1, 9)
    one = images.from_arrays("one", image)
    source = batches.domain_batches(domains.joined(one, one), 400, 0, flip=True, jitter=1)
    batch = source.batch(source.arrays, KEY, jnp.asarray(2))
    moves = []
    for half in (levels(batch["a"]), levels(batch["b"])):
        middle = half[:, 4, 3:6]  # row, and columns around the middle
        mirrored = middle[:, 2, 1] < middle[:, 0, 1]
        moves.append((middle[:, 0, 0] - 4, mirrored, np.where(mirrored, -1, 1) * (middle[:, 1, 1] - 4)))
    for a, b in zip(*moves, strict=True):
        assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(400)
    assert set(moves[0][0]) == set(moves[1][2]) == {-1, 0, 1}


def test_batches_follow_from_key_and_step(colours):
    made = pairs.aligned(colours, "canny")
    for source, name in (
        (batches.pair_batches(made, 8, 0, True, 2), "target"),
        (batches.domain_batches(domains.unpaired(made), 8, 0, True, 2), "b"),
    ):
        step = jax.jit(source.batch)

        def draw(key, s, step=step, source=source, name=name):
            return np.asarray(step(source.arrays, key, s)[name])

        np.testing.assert_array_equal(draw(KEY, 5), draw(KEY, 5))
        eager = source.batch(source.arrays, KEY, jnp.asarray(5))[name]
        np.testing.assert_allclose(draw(KEY, 5), eager, atol=1e-6)
        assert (draw(KEY, 5) != draw(KEY, 6)).any() and (draw(KEY, 5) != draw(jax.random.key(8), 5)).any()


def test_lazy_pairs_come_from_the_host(colours):
    memory, lazy = pairs.aligned(colours, "canny"), pairs.aligned(lazily(colours), "canny")
    source = batches.pair_batches(lazy, 7, seed=5)
    assert isinstance(source, HostSource)
    iterator, seen = source.iterate(0), []
    raw = [next(iterator) for _ in range(6)]
    for s, arrays in enumerate(raw):
        assert arrays["source"].dtype == np.uint8
        batch = jax.jit(source.batch)(arrays, KEY, s)
        index = np.asarray(batch["index"])
        np.testing.assert_array_equal(levels(batch["source"]), memory.source[index])
        np.testing.assert_array_equal(levels(batch["target"]), memory.target[index])
        np.testing.assert_array_equal(batch["label"], memory.label[index])
        seen += index.tolist()
    np.testing.assert_array_equal(np.sort(np.reshape(seen, (2, 21))), np.tile(np.arange(21), (2, 1)))
    np.testing.assert_array_equal(next(source.iterate(4))["index"], raw[4]["index"])
    # a batch of pixels moves as it would on the device
    moved, device = (batches.pair_batches(one, 7, 5, flip=True, jitter=2) for one in (lazy, memory))
    on_device = device.batch(device.arrays, KEY, jnp.asarray(0))
    arrays = {name: memory_array[np.asarray(on_device["index"])] for name, memory_array in device.arrays.items()}
    on_host = moved.batch({**arrays, "index": on_device["index"]}, KEY, jnp.asarray(0))
    for name in on_device:
        np.testing.assert_array_equal(on_host[name], on_device[name])


def test_one_lazy_domain_makes_a_stream_of_both(colours):
    two = both(colours)
    lazy = replace(two, a=lazily(two.a))
    source = batches.domain_batches(lazy, 5, seed=3, flip=True, jitter=1)
    assert isinstance(source, HostSource)
    iterator = source.iterate(0)
    raw = [next(iterator) for _ in range(21)]
    assert set(raw[0]) == {"a", "b", "a_index", "b_index", "a_label"}
    for arrays in raw[:3]:
        np.testing.assert_array_equal(arrays["b"], two.b.image[arrays["b_index"]])
        np.testing.assert_array_equal(arrays["a_label"], two.a.label[arrays["a_index"]])
    a, b = (np.concatenate([arrays[f"{half}_index"] for arrays in raw]) for half in "ab")
    np.testing.assert_array_equal(np.sort(a.reshape(7, 15)), np.tile(np.arange(15), (7, 1)))
    np.testing.assert_array_equal(np.sort(b.reshape(5, 21)), np.tile(np.arange(21), (5, 1)))
    np.testing.assert_array_equal(next(source.iterate(9))["b_index"], raw[9]["b_index"])
    device = batches.domain_batches(two, 5, seed=3, flip=True, jitter=1)
    expected = device.batch(device.arrays, KEY, jnp.asarray(4))
    plain = {
        "a": two.a.image[expected["a_index"]],
        "b": two.b.image[expected["b_index"]],
        **{name: expected[name] for name in ("a_index", "b_index", "a_label")},
    }
    found = source.batch(plain, KEY, jnp.asarray(4))
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])
    equal = batches.domain_batches(domains.joined(lazy.a, lazy.a), 15, seed=3).iterate(0)
    batch = next(equal)
    assert (batch["a_index"] == batch["b_index"]).sum() < 8
    other = batches.domain_batches(lazy, 5, seed=4).iterate(0)
    assert next(other)["a_index"].tolist() != raw[0]["a_index"].tolist()


def test_batches_are_checked(colours):
    made = pairs.aligned(colours, "low_resolution")
    with pytest.raises(ValueError, match="batch_size"):
        batches.pair_batches(made, 0, 0)
    with pytest.raises(ValueError, match=r"jitter is 5.*4x4"):
        batches.pair_batches(made, 2, 0, jitter=5)
    with pytest.raises(ValueError, match="jitter is -1"):
        batches.domain_batches(domains.joined(colours, colours), 2, 0, jitter=-1)
