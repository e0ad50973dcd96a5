"""The latents of real pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import latent
from jaxgan.arrays import Array, to_float, to_uint8
from jaxgan.config import RequestError
from jaxgan.data.images import DataError
from jaxgan.data.picture_files import SUFFIXES, picture
from jaxgan.explore.space import Explorer
from jaxgan.game import State
from jaxgan.recipes import pictures
from jaxgan.training.log import write_picture

AT_ONCE = 16


@dataclass(frozen=True, eq=False)
class Inversion:
    """Latents [n, dimension] of pictures, the classes told [n] or None, reconstructions and errors.

    errors: mean squared difference of pixels in [-1, 1], [n]; start_errors: of the nearest of the latents that the
    search began with.
    """

    latents: np.ndarray
    label: np.ndarray | None
    images: np.ndarray
    reconstructions: np.ndarray
    errors: np.ndarray
    start_errors: np.ndarray


def read_pictures(run: Explorer, names: Sequence[str]) -> tuple[list[str], np.ndarray, np.ndarray | None]:
    """Names, images float32 [n, height, width, channel] in [-1, 1], and their classes [n] where all are known.

    A name is a file, a folder of files, or "test:INDEX" of the run's data set. Files are cut to squares and brought to
    the size of the run's images.
    """
    height, width, channels = run.run.data["shape"]
    found: list[str] = []
    images: list[np.ndarray] = []
    label: list[int | None] = []
    for name in names:
        if name.startswith("test:"):
            image, class_ = _test_image(run, name)
            found.append(name)
            images.append(image)
            label.append(class_)
            continue
        path = Path(name)
        if path.is_dir():
            paths = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
        else:
            paths = [path] if path.is_file() else []
        if not paths:
            what = (
                f"holds no pictures ({', '.join(SUFFIXES)})"
                if path.is_dir()
                else "is no file or folder, nor test:INDEX"
            )
            raise RequestError(f"{name} {what}")
        if height != width:
            raise RequestError(f"files are cut to squares, and the run makes {height}x{width}: give test:INDEX")
        for one in paths:
            try:
                images.append(picture(one, height, run.run.data["resizer"], channels))
            except DataError as error:
                raise RequestError(str(error)) from error
            found.append(str(one))
            label.append(None)
    known = [class_ for class_ in label if class_ is not None]
    floats = np.asarray(to_float(jnp.asarray(np.stack(images))))
    return found, floats, np.array(known, np.int32) if len(known) == len(label) else None


def _test_image(run: Explorer, name: str) -> tuple[np.ndarray, int | None]:
    index, data = name.removeprefix("test:"), run.data()
    n = 0 if data.test_image is None else len(data.test_image)
    if not index.isdecimal() or int(index) >= n:
        there = f"0..{n - 1}" if n else "no test images"
        raise RequestError(f"{name}: {data.name} has {there}")
    assert data.test_image is not None
    class_ = None if data.test_label is None else int(data.test_label[int(index)])
    return np.asarray(data.test_image[int(index)]), class_


def invert(
    run: Explorer,
    images: np.ndarray,
    label: np.ndarray | None = None,
    steps: int = 500,
    restarts: int = 8,
    seed: int = 0,
    feature_weight: float = 0.0,
    learning_rate: float = 0.1,
    prior_weight: float = 0.01,
) -> Inversion:
    """The latents whose outputs come nearest to images [n, height, width, channel] in [-1, 1].

    label: their classes [n], for systems that are told one; None for those that the classifier sees.
    feature_weight: of the mean squared difference of features beside that of pixels.
    In W latents are compared with the mean and deviation of styles, in Z with those of the prior.
    """
    if not run.space.told:
        label = None
    elif label is None:
        label = run.probabilities(images).argmax(1).astype(np.int32)
    latents, _ = run.draw(seed, 6, 1000)
    mean, deviation = latents.mean(axis=0), latents.std(axis=0) + 1e-6
    starts, _ = run.draw(seed, 7, len(images) * restarts)
    starts = starts.reshape(len(images), restarts, -1)
    net = run.feature_net() if feature_weight else None

    @jax.jit
    def search(state: State, images: Array, starts: Array, label: Array | None) -> tuple[Array, Array, Array]:
        told = None if label is None else jnp.repeat(label, restarts)

        def outputs(latents: Array) -> Array:
            return run.space.outputs(state, latents, told)

        def apart(a: Array, b: Array) -> Array:
            assert net is not None
            return feature_weight * jnp.mean(jnp.square(net.extract(a) - net.extract(b)), axis=-1)

        found, errors = latent.invert(
            outputs, images, starts, steps, learning_rate, prior_weight, mean, deviation, apart if net else None
        )
        first = outputs(starts.reshape(-1, starts.shape[-1])).reshape(len(images), restarts, *images.shape[1:])
        return found, errors, jnp.mean(jnp.square(first - images[:, None]), axis=(2, 3, 4)).min(axis=1)

    parts = []
    at_once = min(AT_ONCE, len(images))
    for start in range(0, len(images), at_once):
        rows = np.arange(start, start + at_once).clip(max=len(images) - 1)
        part = search(run.run.state, images[rows], starts[rows], None if label is None else label[rows])
        parts.append([np.asarray(x)[: len(images) - start] for x in part])
    found, errors, first = (np.concatenate(x) for x in zip(*parts, strict=True))
    return Inversion(found, label, images, run.outputs(found, label), errors, first)


def told(run: Explorer, n: int, class_: int | None, label: np.ndarray | None) -> np.ndarray | None:
    """The classes [n] to tell the generator: the one that was asked for, or those known, or None."""
    if class_ is None:
        return label
    num_classes = run.run.recipe.num_classes if run.space.told else 0
    if not 0 <= class_ < num_classes:
        there = f"classes are 0..{num_classes - 1}" if num_classes else "the generator is told none"
        raise RequestError(f"--class {class_}: {there}")
    return np.full(n, class_, np.int32)


def table(names: Sequence[str], found: Inversion) -> list[str]:
    """The error of each picture and of all, in lines."""
    width = max(len(name) for name in names) + 2
    lines = [f"{'':{width}}{'error':12}nearest of the random latents"]
    for name, error, first in zip(names, found.errors, found.start_errors, strict=True):
        lines.append(f"{name:{width}}{error:<12.4g}{first:.4g}")
    if len(names) > 1:
        lines.append(f"{'mean':{width}}{found.errors.mean():<12.4g}{found.start_errors.mean():.4g}")
    return lines


def write(found: Inversion, out: Path) -> None:
    """Writes originals and reconstructions in pairs, and the latents beside them (.npz)."""
    left, right = (np.asarray(to_uint8(images)) for images in (found.images, found.reconstructions))
    write_picture(out, pictures.beside(left, right))
    arrays = {"latent": found.latents, "image": left, "reconstruction": right, "error": found.errors}
    if found.label is not None:
        arrays["label"] = found.label
    np.savez_compressed(out.with_suffix(".npz"), **arrays)  # type: ignore[arg-type]
