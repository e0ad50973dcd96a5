"""What commands share: statuses, positional flags, and where a picture goes."""

import sys
from pathlib import Path
from typing import Any

from jaxgan.config import RequestError

DONE, FAILED, MISTAKE, BROKEN = 0, 1, 2, 3


def fail(message: str, status: int) -> int:
    print(f"jaxgan: {' '.join(message.split())}", file=sys.stderr, flush=True)
    return status


def positional() -> Any:
    import tyro

    return tyro.conf.Positional


def named(name: str) -> Any:
    import tyro

    return tyro.conf.arg(name=name)


class writing:
    """Turns a failure to write `out` into a request error that names it; makes its folder."""

    def __init__(self, out: Path) -> None:
        self.out = out

    def __enter__(self) -> None:
        try:
            self.out.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RequestError(f"--out {self.out}: {error.strerror}") from error

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, OSError):
            raise RequestError(f"--out {self.out}: {error.strerror or error}") from error


def of_member(member: int | None) -> str:
    return "" if member is None else f"-member{member:02d}"


def picture_out(asked: Any, name: str) -> Path:
    """The PNG that was asked for, or that of this name in the run's folder; found out now, not after the work."""
    out: Path = (asked.out or asked.run / name).with_suffix(".png")
    if asked.out is not None:
        with writing(out):
            pass
    return out
