"""Few labels, as many of each class, and all images without: the batches of semi-supervised learning."""

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.arrays import Array, Batch, Key, to_float
from jaxgan.data.images import Images
from jaxgan.data.source import DeviceSource, permuted, shuffled_indices


@dataclass(frozen=True)
class ByClass:
    """Labels sorted out: order int32 [n], the examples class by class; start, count int32 [classes], where in it."""

    order: np.ndarray
    start: np.ndarray
    count: np.ndarray


def by_class(label: np.ndarray, num_classes: int) -> ByClass:
    count = np.bincount(label, minlength=num_classes)
    start = np.cumsum(count) - count
    return ByClass(np.argsort(label, kind="stable").astype(np.int32), start.astype(np.int32), count.astype(np.int32))


def balanced(groups: Mapping[str, Array], key: Key, place: Array, each: int) -> tuple[Array, Array]:
    """Members of a balanced subset, `each` of every class: (index, label), int32 [m].

    The subset is the first `each` of a permutation of every class, a function of `key` alone; no class has fewer
    examples. groups: the arrays of `ByClass`. place: int32 [m] in range(classes * each), class by class; other
    numbers than that many times the classes mean nothing.
    """
    label = place // each
    keys = jax.vmap(lambda c: jax.random.fold_in(key, c))(label)
    inside = permuted(place % each, keys, jnp.asarray(groups["count"])[label])
    return jnp.asarray(groups["order"])[jnp.asarray(groups["start"])[label] + inside], label


def few_labels(images: Images, labels: int, batch_size: int) -> DeviceSource:
    """Batches of `batch_size` labelled images, and twice as many others, all of which follow from the run's data key.

    labels: how many images have one, the same number of each class; which ones is a function of the key, so that
        the seeds of a population have different ones. They are read in permutations of their own.
    Batches have "labelled_image", "labelled_label", "image" and "matched_image": the last two are all training
    images, the labelled ones among them, in two orders that know nothing of each other. "index", "labelled_index",
    "matched_index" int32: their positions.
    """
    assert images.label is not None and isinstance(images.image, np.ndarray)
    groups, each = by_class(images.label, images.num_classes), labels // images.num_classes
    arrays = {"image": images.image, "order": groups.order, "start": groups.start, "count": groups.count}

    def batch(arrays: Mapping[str, Array], key: Key, step: Array) -> Batch:
        subset, labelled, other, matched = (jax.random.fold_in(key, i) for i in range(4))
        place = shuffled_indices(labelled, step, batch_size, labels)
        chosen, label = balanced(arrays, subset, place, each)
        n = arrays["image"].shape[0]
        seen, wanted = (shuffled_indices(order, step, batch_size, n) for order in (other, matched))

        def read(index: Array) -> Array:
            return to_float(jnp.asarray(arrays["image"]).at[index].get(mode="promise_in_bounds"))

        return {
            "labelled_image": read(chosen),
            "labelled_label": label,
            "labelled_index": chosen,
            "image": read(seen),
            "index": seen,
            "matched_image": read(wanted),
            "matched_index": wanted,
        }

    return DeviceSource(arrays, batch, batch_size)
