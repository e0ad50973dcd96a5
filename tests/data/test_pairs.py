from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.data import images, pairs, resizing
from jaxgan.data.images import Images, Lazy
from jaxgan.data.pairs import Domains, Pairs
from jaxgan.data.source import DeviceSource, HostSource
from jaxgan.data.transformations import TRANSFORMATIONS
from tests.data.files import refused

RNG = np.random.default_rng(0)
KEY = jax.random.key(7)


def noise(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, np.uint8)


def lazily(data: Images) -> Images:
    def lazy(part: np.ndarray | None) -> Lazy | None:
        return None if part is None else Lazy(lambda i: part[i], part.shape)

    return replace(data, image=lazy(data.image), test_image=lazy(data.test_image))


def in_memory(part) -> np.ndarray:
    return np.stack([part[i] for i in range(len(part))])


@pytest.fixture(scope="module")
def colours() -> Images:
    """21 training and 5 test pictures of 16x16 in three classes."""
    label, test_label = np.arange(21) % 3, np.arange(5) % 3
    return images.from_arrays("blobs", noise(21, 16, 16, 3), label, noise(5, 16, 16, 3), test_label, "xyz")


# --- aligned


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_aligned_pictures_and_what_they_become(colours, name):
    made = pairs.aligned(colours, name)
    assert made.name == f"blobs-{name}" and made.classes == ("x", "y", "z") and made.num_classes == 3
    assert made.target is colours.image and made.label is colours.label and made.test_label is colours.test_label
    for target, source in zip(colours.image, made.source, strict=True):
        np.testing.assert_array_equal(TRANSFORMATIONS[name](target), source)
    np.testing.assert_array_equal(TRANSFORMATIONS[name](made.test_target), made.test_source)
    assert made.source_size == made.source.shape[1:] and made.target_size == (16, 16, 3)
    assert made.factor == (4 if name == "low_resolution" else 1)
    lazy = pairs.aligned(lazily(colours), name)
    assert isinstance(lazy.source, Lazy) and lazy.source_size == made.source_size
    np.testing.assert_array_equal(in_memory(lazy.source), made.source)
    np.testing.assert_array_equal(in_memory(lazy.test_target), made.test_target)
    none = pairs.aligned(replace(colours, image=np.zeros((0, 16, 16, 3), np.uint8), test_image=None), name)
    assert len(none.source) == 0 and none.source_size == made.source_size and none.factor == made.factor


def test_more_pictures_than_are_changed_at_once():
    data = images.from_arrays("many", noise(1203, 8, 8))
    np.testing.assert_array_equal(pairs.aligned(data, "sobel").source, TRANSFORMATIONS["sobel"](data.image))


def test_fingerprints_tell_transformations_and_pictures_apart(colours):
    made = {name: pairs.aligned(colours, name) for name in TRANSFORMATIONS}
    lazy = {name: pairs.aligned(lazily(colours), name) for name in TRANSFORMATIONS}
    seen = [one.fingerprint for one in (*made.values(), *lazy.values())]
    assert len(set(seen)) == len(seen) and all(len(one) == 64 for one in seen)
    assert pairs.aligned(colours, "canny").fingerprint == made["canny"].fingerprint
    other = colours.image.copy()
    other[20, 3, 5, 1] ^= 128
    changed = images.from_arrays("blobs", other, colours.label, classes="xyz")
    assert pairs.aligned(changed, "masked").fingerprint != made["masked"].fingerprint
    assert made["canny"].test_fingerprint not in ("", made["canny"].fingerprint)
    assert pairs.aligned(changed, "canny").test_fingerprint == ""


def test_lazy_pairs_decode_once(colours):
    decoded = []
    image = Lazy(lambda i: decoded.append(i) or colours.image[i], colours.image.shape)
    made = pairs.aligned(replace(colours, image=image), "sobel")
    for i in (4, 2):
        made.source[i], made.target[i]
    assert decoded == [4, 2]


def test_pairs_must_fit(colours):
    refused(lambda: pairs.aligned(colours, "cany"), "'cany'", "canny, sobel")
    grey = images.from_arrays("grey", noise(3, 8, 8))
    refused(lambda: pairs.aligned(grey, "grey"), "grey already")
    image = colours.image
    good = Pairs("p", image, image, None, None, None, None, (), "")
    for part, words in [
        ({"source": image[:, :8]}, ["16x16", "8x16", "whole multiple"]),
        ({"source": image[:, :6, :6]}, ["16x16", "6x6"]),
        ({"source": image[:20]}, ["20 sources", "21 targets"]),
        ({"test_source": image}, ["one half"]),
        ({"test_source": image[:2], "test_target": image[:3]}, ["2 sources", "3 targets"]),
    ]:
        refused(lambda part=part: replace(good, **part), *words)


# --- unpaired, joined, only


@pytest.mark.parametrize("lazy", [False, True])
def test_unpaired_domains_share_no_training_picture(colours, lazy):
    data = lazily(colours) if lazy else colours
    made = pairs.unpaired(pairs.aligned(data, "negative"))
    assert made.aligned and made.size == (16, 16, 3) and (len(made.a.image), len(made.b.image)) == (10, 11)
    place = {picture.tobytes(): i for i, picture in enumerate(colours.image)}
    a = [place[(255 - picture).tobytes()] for picture in in_memory(made.a.image)]
    b = [place[picture.tobytes()] for picture in in_memory(made.b.image)]
    assert sorted(a + b) == list(range(21))
    np.testing.assert_array_equal(made.a.label, colours.label[a])
    np.testing.assert_array_equal(made.b.label, colours.label[b])
    # not the first and the last: folders are sorted by class
    assert 3 < np.sum(np.array(a) < 10) < 8
    np.testing.assert_array_equal(255 - in_memory(made.a.test_image), in_memory(made.b.test_image))
    np.testing.assert_array_equal(made.b.test_label, colours.test_label)
    again = pairs.unpaired(pairs.aligned(data, "negative"))
    assert made.fingerprint == again.fingerprint and made.a.fingerprint != made.b.fingerprint


def test_unpaired_grey_sources_become_colour(colours):
    made = pairs.unpaired(pairs.aligned(colours, "grey"))
    assert made.a.size == made.b.size == (16, 16, 3)
    assert (made.a.image == made.a.image[..., :1]).all() and not (made.b.image == made.b.image[..., :1]).all()
    np.testing.assert_array_equal(made.a.test_image[..., 2:], TRANSFORMATIONS["grey"](made.b.test_image))


def test_pairs_that_cannot_be_unpaired(colours):
    refused(lambda: pairs.unpaired(pairs.aligned(colours, "low_resolution")), "4x4", "16x16", "one size")
    one = images.from_arrays("one", noise(1, 8, 8))
    refused(lambda: pairs.unpaired(pairs.aligned(one, "sobel")), "one training pair")
    none = replace(one, image=np.zeros((0, 8, 8, 1), np.uint8))
    assert pairs.unpaired(pairs.aligned(none, "sobel")).size == (8, 8, 1)


def test_joined_sets_have_one_size_and_one_number_of_channels(colours):
    grey = images.from_arrays("grey set", noise(4, 8, 10), np.array([0, 1, 1, 0]), note="few")
    made = pairs.joined(grey, colours)
    assert made.name == "grey-set-to-blobs" and made.size == (16, 16, 3) and not made.aligned and made.note == "few"
    assert made.b is colours
    expected = resizing.resized(grey, 16).image
    np.testing.assert_array_equal(made.a.image, np.repeat(expected, 3, -1))
    assert made.a.resizer == "lanczos" and made.a.test_image is None and made.a.num_classes == 2
    small = pairs.joined(colours, grey, size=8)
    assert small.size == (8, 8, 3)
    np.testing.assert_array_equal(small.b.image, np.repeat(grey.image[:, :, 1:9], 3, -1))
    assert small.fingerprint != made.fingerprint
    same = pairs.joined(grey, grey)
    assert same.size == (8, 10, 1) and same.a is grey
    lazy = pairs.joined(lazily(grey), lazily(colours))
    assert isinstance(lazy.a.image, Lazy)
    np.testing.assert_array_equal(in_memory(lazy.a.image), made.a.image)
    refused(lambda: Domains("d", grey, colours, False, ""), "grey set", "8x10x1", "16x16x3")
    refused(lambda: Domains("d", colours, replace(colours, test_image=None), True, ""), "5 and 0")


@pytest.mark.parametrize("lazy", [False, True])
def test_only_one_class_is_left(colours, lazy):
    data = lazily(colours) if lazy else colours
    for which in ("y", 1, "Y", "1"):
        made = pairs.only(data, which)
        assert made.name == "blobs-y" and made.label is None and made.classes == () and made.test_label is None
        np.testing.assert_array_equal(in_memory(made.image), colours.image[1::3])
        np.testing.assert_array_equal(in_memory(made.test_image), colours.test_image[1::3])
    assert pairs.only(data, 2).fingerprint != made.fingerprint


def test_names_of_classes_go_before_numbers():
    data = images.from_arrays("years", noise(4, 8, 8), [0, 1, 1, 2], noise(1, 8, 8), [0], ["1", "0", "a/b c"])
    np.testing.assert_array_equal(pairs.only(data, "0").image, data.image[1:3])
    assert pairs.only(data, "0").test_image is None
    assert pairs.only(data, "A/B C").name == "years-a-b-c"
    refused(lambda: pairs.only(data, "5"), "no class '5'", "'1', '0', 'a/b c'")
    refused(lambda: pairs.only(pairs.only(data, "0"), "0"), "unlabelled")
    absent = replace(data, classes=(*data.classes, "d"))
    refused(lambda: pairs.only(absent, "d"), "no training picture", "'d'")


@pytest.mark.parametrize("lazy", [False, True])
def test_only_those_with_an_attribute_or_without_it_are_left(lazy):
    has, test_has = np.array([[1, 0], [0, 1], [1, 1], [0, 0]]), np.array([[0, 1], [1, 1]])
    told = {"attribute": has, "test_attribute": test_has, "attributes": ["Male", "2"]}
    faces = images.from_arrays("faces", noise(4, 8, 8), test_image=noise(2, 8, 8), **told)
    data = lazily(faces) if lazy else faces
    male, other = pairs.only(data, "Male"), pairs.only(data, "not-Male")
    assert (male.name, other.name) == ("faces-Male", "faces-not-Male") and male.attribute is None
    np.testing.assert_array_equal(in_memory(male.image), faces.image[[0, 2]])
    np.testing.assert_array_equal(in_memory(other.image), faces.image[[1, 3]])
    np.testing.assert_array_equal(in_memory(other.test_image), faces.test_image[[0]])
    second = pairs.only(images.from_arrays("faces", faces.image, test_image=faces.test_image, **told), "not-2")
    assert second.name == "faces-not-2" and second.test_image is None
    np.testing.assert_array_equal(second.image, faces.image[[0, 3]])
    assert pairs.only(data, "NOT-male").fingerprint == other.fingerprint
    assert len({male.fingerprint, other.fingerprint, faces.fingerprint}) == 3
    refused(lambda: pairs.only(data, "not-Bald"), "no class 'not-Bald'", "the attributes 'Male', '2'")
    # a class of that name goes before
    both = images.from_arrays("faces", noise(4, 8, 8), [0, 1, 2, 2], attribute=has, attributes=["Male", "2"])
    np.testing.assert_array_equal(pairs.only(both, "2").image, both.image[2:])
    refused(lambda: pairs.only(both, "x"), "'0', '1', '2', numbered from 0, and the attributes 'Male', '2'")


# --- batches


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
    source = pairs.pair_batches(made, 6, seed=0)
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
    plain = images.batches(colours, 6, seed=0)
    np.testing.assert_array_equal(plain.batch(plain.arrays, KEY, jnp.asarray(1))["index"], seen[6:12])
    unlabelled = pairs.pair_batches(replace(made, label=None, test_label=None, classes=()), 2, seed=0)
    assert set(unlabelled.batch(unlabelled.arrays, KEY, jnp.asarray(0))) == {"source", "target", "index"}


@pytest.mark.parametrize(("factor", "jitter", "flip"), [(1, 3, True), (1, 11, False), (4, 2, True), (2, 0, True)])
def test_both_halves_of_a_pair_move_alike(factor, jitter, flip):
    n, side = 40, 12
    target = coded(n, side * factor)
    data = Pairs("coded", coded(n, side, 2), target, None, None, None, None, (), "")
    source = pairs.pair_batches(data, 200, 0, flip, jitter)
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
    source = pairs.pair_batches(data, 30, 0, flip=True, jitter=3)
    batch = source.batch(source.arrays, KEY, jnp.asarray(0))
    target = levels(batch["target"]).astype(np.uint8)
    np.testing.assert_array_equal(TRANSFORMATIONS["low_resolution"](target), levels(batch["source"]))
    assert (target != data.target[np.asarray(batch["index"])]).any((1, 2, 3)).mean() > 0.8


def both(colours) -> Domains:
    """Domains of different lengths, one of them labelled, of pictures that say which they are."""
    a = images.from_arrays("a", coded(15, 10), np.arange(15) % 4)
    return pairs.joined(a, images.from_arrays("b", 255 - coded(21, 10)))


def test_domain_batches_have_two_orders(colours):
    domains = both(colours)
    source = pairs.domain_batches(domains, 5, seed=0)
    assert isinstance(source, DeviceSource)
    step, seen = jax.jit(source.batch), []
    for s in range(21):
        batch = step(source.arrays, KEY, s)
        assert set(batch) == {"a", "b", "a_index", "b_index", "a_label"}
        a, b = np.asarray(batch["a_index"]), np.asarray(batch["b_index"])
        np.testing.assert_array_equal(levels(batch["a"]), domains.a.image[a])
        np.testing.assert_array_equal(levels(batch["b"]), domains.b.image[b])
        np.testing.assert_array_equal(batch["a_label"], domains.a.label[a])
        seen.append((a, b))
    a, b = np.concatenate([one[0] for one in seen]), np.concatenate([one[1] for one in seen])
    np.testing.assert_array_equal(np.sort(a.reshape(7, 15)), np.tile(np.arange(15), (7, 1)))
    np.testing.assert_array_equal(np.sort(b.reshape(5, 21)), np.tile(np.arange(21), (5, 1)))
    equal = pairs.joined(domains.b, domains.b)
    source = pairs.domain_batches(equal, 21, seed=0)
    batch = source.batch(source.arrays, KEY, jnp.asarray(3))
    assert (np.asarray(batch["a_index"]) == np.asarray(batch["b_index"])).sum() < 8


def test_the_moves_of_two_domains_are_independent():
    image = coded(1, 9)
    one = images.from_arrays("one", image)
    source = pairs.domain_batches(pairs.joined(one, one), 400, 0, flip=True, jitter=1)
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
        (pairs.pair_batches(made, 8, 0, True, 2), "target"),
        (pairs.domain_batches(pairs.unpaired(made), 8, 0, True, 2), "b"),
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
    source = pairs.pair_batches(lazy, 7, seed=5)
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
    moved, device = (pairs.pair_batches(one, 7, 5, flip=True, jitter=2) for one in (lazy, memory))
    on_device = device.batch(device.arrays, KEY, jnp.asarray(0))
    arrays = {name: memory_array[np.asarray(on_device["index"])] for name, memory_array in device.arrays.items()}
    on_host = moved.batch({**arrays, "index": on_device["index"]}, KEY, jnp.asarray(0))
    for name in on_device:
        np.testing.assert_array_equal(on_host[name], on_device[name])


def test_one_lazy_domain_makes_a_stream_of_both(colours):
    domains = both(colours)
    lazy = replace(domains, a=lazily(domains.a))
    source = pairs.domain_batches(lazy, 5, seed=3, flip=True, jitter=1)
    assert isinstance(source, HostSource)
    iterator = source.iterate(0)
    raw = [next(iterator) for _ in range(21)]
    assert set(raw[0]) == {"a", "b", "a_index", "b_index", "a_label"}
    for arrays in raw[:3]:
        np.testing.assert_array_equal(arrays["b"], domains.b.image[arrays["b_index"]])
        np.testing.assert_array_equal(arrays["a_label"], domains.a.label[arrays["a_index"]])
    a, b = (np.concatenate([arrays[f"{half}_index"] for arrays in raw]) for half in "ab")
    np.testing.assert_array_equal(np.sort(a.reshape(7, 15)), np.tile(np.arange(15), (7, 1)))
    np.testing.assert_array_equal(np.sort(b.reshape(5, 21)), np.tile(np.arange(21), (5, 1)))
    np.testing.assert_array_equal(next(source.iterate(9))["b_index"], raw[9]["b_index"])
    device = pairs.domain_batches(domains, 5, seed=3, flip=True, jitter=1)
    expected = device.batch(device.arrays, KEY, jnp.asarray(4))
    plain = {
        "a": domains.a.image[expected["a_index"]],
        "b": domains.b.image[expected["b_index"]],
        **{name: expected[name] for name in ("a_index", "b_index", "a_label")},
    }
    found = source.batch(plain, KEY, jnp.asarray(4))
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])
    equal = pairs.domain_batches(pairs.joined(lazy.a, lazy.a), 15, seed=3).iterate(0)
    batch = next(equal)
    assert (batch["a_index"] == batch["b_index"]).sum() < 8
    other = pairs.domain_batches(lazy, 5, seed=4).iterate(0)
    assert next(other)["a_index"].tolist() != raw[0]["a_index"].tolist()


def test_batches_are_checked(colours):
    made = pairs.aligned(colours, "low_resolution")
    with pytest.raises(ValueError, match="batch_size"):
        pairs.pair_batches(made, 0, 0)
    with pytest.raises(ValueError, match=r"jitter is 5.*4x4"):
        pairs.pair_batches(made, 2, 0, jitter=5)
    with pytest.raises(ValueError, match="jitter is -1"):
        pairs.domain_batches(pairs.joined(colours, colours), 2, 0, jitter=-1)
