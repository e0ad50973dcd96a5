"""Files of pictures: which there are in a folder, what they announce, how one is read."""

from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from jaxgan.data.images import DataError, one_line
from jaxgan.data.resizing import cut

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif")


def picture(path: Path, size: int, resizer: str = "lanczos", channels: int = 3) -> np.ndarray:
    """The centre square of one file's picture: uint8 [size, size, channels]. DataError, naming it, if it is broken.

    A resizer of "none", as images say that needed none, is lanczos.
    """
    square = cut(upright(path, channels), size, "lanczos" if resizer == "none" else resizer)
    return np.asarray(square).reshape(size, size, channels)


def header(path: Path) -> tuple[tuple[int, int], bool]:
    """((width, height) once upright, is grey), without decoding the pixels."""
    try:
        with Image.open(path) as picture:
            # without the first test Pillow decodes a PNG in search of its tags; from 5 on they lie on their side
            turned = "exif" in picture.info and picture.getexif().get(ExifTags.Base.Orientation, 1) >= 5
            grey = picture.mode in ("1", "L", "LA", "La") or picture.mode.startswith("I")
            return picture.size[::-1] if turned else picture.size, grey
    except Exception as error:  # Pillow's readers raise whatever their formats call for
        raise DataError(f"{path} is not a readable image; repair or remove it") from error


def upright(path: Path, channels: int) -> Image.Image:
    """The whole picture in a file, turned as its EXIF tag says, laid over white, grey or RGB."""
    try:
        with Image.open(path) as opened:
            picture: Image.Image = ImageOps.exif_transpose(opened)
            if picture.mode.startswith("I"):
                # Pillow clips 16-bit greys at 255 instead of scaling them
                picture = Image.fromarray((np.asarray(picture).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8))
            if picture.has_transparency_data:
                picture = picture.convert("RGBA")
                picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
            return picture.convert("L" if channels == 1 else "RGB")
    except Exception as error:  # Pillow's decoders raise whatever their formats call for
        raise DataError(f"{path} is a broken image ({one_line(error)}); repair or remove it") from error


def listing(path: Path) -> tuple[list[Path], np.ndarray | None, tuple[str, ...]]:
    """(files, label int32 [n] or None, classes) of a folder of pictures or of one subfolder a class, sorted by name.

    DataError, naming the folder, if it holds both, neither, or a class without pictures.
    """
    entries = visible(path)
    subfolders = [entry for entry in entries if entry.is_dir()]
    top = [entry for entry in entries if entry.is_file() and entry.suffix.lower() in SUFFIXES]
    if top and subfolders:
        raise DataError(
            f"{path} mixes images ({top[0].name}) and subfolders ({subfolders[0].name}); "
            "put every image into a class subfolder, or all into one folder"
        )
    if top:
        return top, None, ()
    paths: list[Path] = []
    label: list[int] = []
    for k, subfolder in enumerate(subfolders):
        inside = visible(subfolder)
        if deeper := [entry for entry in inside if entry.is_dir()]:
            raise DataError(
                f"{subfolder} holds the folder {deeper[0].name}, but a class folder holds images only; "
                f"flatten it, or point to {subfolder}"
            )
        found = [entry for entry in inside if entry.suffix.lower() in SUFFIXES]
        if not found:
            raise DataError(f"no images in {subfolder}; looked for {', '.join(SUFFIXES)}")
        paths += found
        label += [k] * len(found)
    if not paths:
        raise DataError(f"no images in {path}; looked for {', '.join(SUFFIXES)}")
    return paths, np.array(label, np.int32), tuple(subfolder.name for subfolder in subfolders)


def visible(path: Path) -> list[Path]:
    """What a folder holds, but for hidden entries, sorted by name."""
    return sorted((entry for entry in path.iterdir() if not entry.name.startswith(".")), key=lambda entry: entry.name)
