"""Preparing TFDS sets as array_record, without TensorFlow where there is a builder of our own (`official`).

``digits``, ``mnist``, ``fashion_mnist`` and ``cifar10`` have one. Preparing any other takes TensorFlow.
"""

import contextlib
import importlib.util
import io
import os
import shutil
import socket
import sys
import tempfile
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxgan.data import official
from jaxgan.data.images import DataError
from jaxgan.data.prepared_sets import Prepared, default_data_dir, find


def online(url: str, timeout: float = 0.5) -> bool:
    """Whether the host of `url`, or the proxy for it, accepts a connection within `timeout` seconds.

    TFDS by itself tries an unreachable host for minutes.
    """
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or ""
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(host):
        parts = urllib.parse.urlsplit(proxy if "//" in proxy else f"//{proxy}")
    address = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
    reached = threading.Event()

    def connect() -> None:
        with contextlib.suppress(OSError), socket.create_connection(address, timeout):
            reached.set()

    # in a thread, for looking up a name has no time limit of its own
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(timeout)
    return reached.is_set()


def prepare(name: str, data_dir: str | Path | None = None, files: str | Path | None = None) -> Prepared:
    """Prepares `name` in `data_dir` as array_record, unless it is there already.

    files: a folder with the official files (`official.SETS`), used in place of a download. Downloaded or
    not, every file must match TFDS's checksum. Several processes may prepare the same set at once:
    each writes a folder of its own, and the first to finish renames it into place.
    Raises DataError if it cannot be had: offline, a wrong or missing file, an unwritable folder, or
    a set that needs TensorFlow where there is none.
    """
    data_dir = default_data_dir() if data_dir is None else Path(data_dir).expanduser()
    if found := find(name, data_dir):
        return found
    if name != "digits" and name not in official.SETS:
        return _prepare_by_tensorflow(name, data_dir, files)
    download = name in official.SETS and files is None
    if download and not online(official.SETS[name].url):
        raise DataError(_offline(name, data_dir))
    if name in official.SETS and files is not None:
        files = Path(files).expanduser()
        if missing := [file for file in official.SETS[name].files if not (files / file).is_file()]:
            raise DataError(f"{files} lacks {', '.join(missing)} of {name}; get them from {official.SETS[name].url}")
    elif files is not None:
        raise DataError(f"{name} takes no files: it comes with scikit-learn")
    staging = _staging(data_dir)
    try:
        with quiet(loud=download):
            import tensorflow_datasets as tfds

            config = tfds.download.DownloadConfig(
                manual_dir=None if files is None else os.fspath(files),
                force_checksums_validation=True,
                try_download_gcs=False,  # Google's prepared copies are tfrecord, which has no random access
            )
            builder = official.builder(name)(data_dir=os.fspath(staging))
            downloads = data_dir / "downloads" if download else staging / "downloads"
            _download_and_prepare(builder, config, downloads, name)
            version = str(builder.version)
        target = data_dir / name / version
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            (staging / name / version).rename(target)
        except OSError as error:
            if find(name, data_dir) is None:  # else another process was first
                raise DataError(f"{target} is in the way of preparing {name}: remove it") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    found = find(name, data_dir)
    if found is None:
        raise DataError(f"{data_dir / name} vanished while {name} was prepared; try again")
    return found


def _prepare_by_tensorflow(name: str, data_dir: Path, files: str | Path | None) -> Prepared:
    if importlib.util.find_spec("tensorflow") is None:
        raise DataError(
            f"{name} is not prepared in {data_dir}, and needs TensorFlow to be prepared: pip install 'jaxgan[tf]'"
        )
    with quiet(loud=True):
        import tensorflow_datasets as tfds

        try:
            builder = tfds.builder(name, data_dir=os.fspath(_writable(data_dir)), try_gcs=False)
        except Exception as error:  # an unknown name, config or version: TFDS has a class for each
            raise DataError(f"{name} cannot be prepared: {_first_line(error)}") from error
        url = next(iter(builder.url_infos or {}), None)
        if files is None and url and not online(url):
            raise DataError(_offline(name, data_dir, url))
        config = tfds.download.DownloadConfig(
            manual_dir=None if files is None else os.fspath(files), try_download_gcs=False
        )
        _download_and_prepare(builder, config, data_dir / "downloads", name)
    found = find(name, data_dir)
    if found is None:
        raise DataError(f"{name} was prepared, but is not found in {data_dir}; name it with its config: {name}/CONFIG")
    return found


def _download_and_prepare(builder: Any, config: Any, downloads: Path, name: str) -> None:
    from tensorflow_datasets.core.download import download_manager, util

    try:
        builder.download_and_prepare(
            download_dir=os.fspath(downloads), download_config=config, file_format="array_record"
        )
    except DataError as error:
        raise DataError(_first_line(error)) from error  # TFDS adds lines of its own
    except download_manager.NonMatchingChecksumError as error:
        raise DataError(f"{_first_line(error).rstrip(':')}: it is not the official file of {name}") from error
    except (OSError, util.DownloadError) as error:
        raise DataError(f"{name} could not be prepared: {_first_line(error)}") from error


@contextlib.contextmanager
def quiet(loud: bool = False) -> Iterator[None]:
    """Silences TFDS; when `loud` its messages and progress bars go to standard error, never to standard output."""
    sink = sys.stderr if loud else io.StringIO()
    with contextlib.redirect_stdout(sink):
        import absl.logging
        from tensorflow_datasets.core.utils import tqdm_utils

        verbosity = absl.logging.get_verbosity()
        absl.logging.set_verbosity(absl.logging.ERROR)
        (tqdm_utils.enable_progress_bar if loud else tqdm_utils.disable_progress_bar)()
        try:
            yield
        finally:
            absl.logging.set_verbosity(verbosity)
            tqdm_utils.enable_progress_bar()


def _writable(data_dir: Path) -> Path:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=data_dir):
            pass
    except OSError as error:
        raise DataError(
            f"{data_dir} cannot be written ({error.strerror}); choose another with --data-dir or JAXGAN_DATA_DIR"
        ) from error
    return data_dir


def _staging(data_dir: Path) -> Path:
    # Our own, for TFDS draws the name of its temporary folder from `random`, which forked or
    # equally seeded processes share.
    return Path(tempfile.mkdtemp(dir=_writable(data_dir), prefix=".preparing-"))


def _offline(name: str, data_dir: Path, url: str | None = None) -> str:
    url = url or official.SETS[name].url
    reach = f"{name} is not prepared in {data_dir}, and {urllib.parse.urlsplit(url).hostname} cannot be reached: "
    if name not in official.SETS:
        return reach + "connect, or copy a prepared folder there"
    return reach + f"connect, or run: {how_to_prepare(name)} (FOLDER holding {', '.join(official.SETS[name].files)})"


def how_to_prepare(name: str) -> str:
    return f"jaxgan data prepare {name}" + (" --files FOLDER" if name in official.SETS else "")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].strip()
