"""A user's pictures through a run that translates: files and folders, of any size, names kept."""

from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.arrays import to_float, to_uint8
from jaxgan.config import RequestError
from jaxgan.data.images import DataError
from jaxgan.data.picture_files import SUFFIXES, upright
from jaxgan.data.transformations import TRANSFORMATIONS
from jaxgan.recipes.folder import Run
from jaxgan.recipes.pictures import beside
from jaxgan.training.log import write_picture
from jaxgan.training.recipe import Translation

# pictures on the sheet, and the pixels of its longer side of each
ON_SHEET, SIDE = 16, 256


def chosen(run: Run, to: str | None) -> Translation:
    """The translation into a domain, by its name; by default the run's first."""
    ways = run.recipe.translations
    if not ways:
        raise RequestError(f"{run.directory} is a run of {run.recipe_name}, which translates nothing")
    if to is not None and to not in ways:
        raise RequestError(f"--to {to}: {run.directory} translates to {', '.join(ways)}")
    return ways[next(iter(ways)) if to is None else to]


def listed(inputs: Sequence[Path]) -> list[tuple[Path, Path]]:
    """(file, name of its translation) of the files that were named and those in folders, whose own folders are kept."""
    found: list[tuple[Path, Path]] = []
    for given in inputs:
        if given.is_dir():
            inside = sorted(p for p in given.rglob("*") if p.is_file() and p.suffix.lower() in SUFFIXES)
            if not inside:
                raise RequestError(f"no pictures in {given}; looked for {', '.join(SUFFIXES)}")
            found += [(file, file.relative_to(given).with_suffix(".png")) for file in inside]
        elif given.is_file():
            found.append((given, Path(given.name).with_suffix(".png")))
        else:
            raise RequestError(f"there is no file or folder {given}")
    first: dict[Path, Path] = {}
    for file, name in found:
        if name in first:
            raise RequestError(f"{first[name]} and {file} would both become {name}: translate them one after the other")
        first[name] = file
    return found


def translate_files(
    run: Run, inputs: Sequence[Path], out: Path, to: str | None = None, prepare: bool = False, seed: int = 0
) -> list[Path]:
    """Writes out/NAME.png for every picture, and a sheet of the first ones beside their translations as OUT.png.

    Pictures keep their size (those of a system that enlarges are larger). prepare: make a source of each first, by
    the run's own --task. Each size compiles once. All pictures are read before anything is written.
    """
    way, files = chosen(run, to), listed(inputs)
    task = getattr(run.config, "task", None)
    if prepare and task is None:
        raise RequestError(f"{run.recipe_name} has no --task by which pictures could be prepared: leave --prepare out")
    sources = []
    for file, _ in files:
        try:
            # a task may need the colours that the source then does not have
            picture = pixels(file, 3 if prepare and task == "grey" else way.channels)
        except DataError as error:
            raise RequestError(str(error)) from error
        picture = TRANSFORMATIONS[task](picture) if prepare and task is not None else picture
        if min(picture.shape[:2]) < 8 and run.recipe_name != "srgan":
            raise RequestError(f"{file} is {picture.shape[0]}x{picture.shape[1]}: pictures have at least 8x8 pixels")
        sources.append(picture)
    program = jax.jit(lambda state, image, key: to_uint8(way.translate(state, to_float(image), key)))
    made, written = [], []
    for i, ((_, name), source) in enumerate(zip(files, sources, strict=True)):
        key = jax.random.fold_in(jax.random.key(seed), i)
        picture = np.asarray(program(run.state, jnp.asarray(source)[None], key))[0]
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        write_picture(out / name, picture)
        written.append(out / name)
        if i < ON_SHEET:
            made.append(picture)
    shown = [np.stack([_shown(p) for p in part]) for part in (sources[:ON_SHEET], made)]
    write_picture(out.with_name(out.name + ".png"), beside(*shown))
    return written


def pixels(file: Path, channels: int) -> np.ndarray:
    """A picture as uint8 [height, width, channels], of its own size."""
    picture = np.asarray(upright(file, channels))
    return picture.reshape(*picture.shape[:2], channels)


def _shown(picture: np.ndarray) -> np.ndarray:
    """A picture at a place of the sheet: its longer side as long as all others', the rest black."""
    from PIL import Image

    height, width, channels = picture.shape
    scale = SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
    planes = [np.asarray(Image.fromarray(picture[..., c]).resize(size, method)) for c in range(channels)]
    place = np.zeros((SIDE, SIDE, 3), np.uint8)
    place[: size[1], : size[0]] = np.stack(planes, axis=-1)
    return place
