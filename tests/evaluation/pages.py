"""What tests of pages share: a page read back, and folders of runs made by hand."""

import base64
import json
import math
import struct
import zlib
from html.parser import HTMLParser

import numpy as np

VOID = {"meta", "img"}


class Page(HTMLParser):
    """Tags with attributes, visible text, and whether every element was closed."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.texts, self.open = [], [], []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def images(self):
        sources = [attributes["src"] for tag, attributes in self.tags if tag == "img"]
        assert all(source.startswith("data:image/png;base64,") for source in sources)
        return [base64.b64decode(source.split(",", 1)[1]) for source in sources]

    def loads_nothing(self):
        assert not {tag for tag, _ in self.tags} & {"script", "link", "iframe", "object", "embed", "video", "audio"}
        for _, attributes in self.tags:
            for name, value in attributes.items():
                assert not name.startswith("on")
                if name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href", "background"):
                    assert value.startswith("data:image/png")
        assert "url(" not in self.source and "@import" not in self.source


def png(pixels):
    """uint8 [height, width, 3] as a PNG file, by the format's definition."""
    height, width, _ = pixels.shape
    lines = b"".join(b"\x00" + row.tobytes() for row in pixels)

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def make_run(directory, seed=0, rate=2e-4, features="classifier-digits", steps=3000):
    (directory / "samples").mkdir(parents=True)
    options = {"steps": steps, "batch": 64, "seed": seed, "data": "digits"}
    config = {"generator_rate": rate, "betas": [0.5, 0.999], "note": "<script>alert('config')</script>"}
    (directory / "config.json").write_text(
        json.dumps({"recipe": "dcgan", "config": config, "options": options, "version": "0.1.0"})
    )
    manifest = {
        "command": f'jaxgan train dcgan --data digits --note "<script>" --seed {seed}',
        "versions": {"jax": "0.10.2"},
        "devices": ["cpu", "cpu"],
        "git_revision": None,
        "data": {
            "name": "digits",
            "fingerprint": "9f2c",
            "n_train": 1437,
            "note": "<img src=http://example.com/x.png>",
        },
        "parameters": {"generator": 1234567},
        "date": "2025-11-02",
    }
    (directory / "manifest.json").write_text(json.dumps(manifest))
    rows = []
    for step in range(100, 3001, 100):
        loss = math.nan if step == 700 else 0.7 + seed + 100 / step
        rows.append({"step": step, "seconds": step / 20, "examples_per_second": 5000.0 + step % 7})
        rows[-1] |= {"generator/loss": loss, "discriminator/loss": 1.3, "discriminator/r1": 5.0 / step, "d/ran": 1.0}
        if step % 1500 == 0:
            distance = 20.0 + (5.5 if step == 3000 else 0.0) + seed
            rows.append({"step": step, "evaluation": "images", "frechet_distance": distance, "recognised": 0.875})
            rows[-1] |= {"kernel_distance": 0.0123, "kernel_distance_error": 0.0045, "n_fake": 1000}
            rows[-1] |= {"features": features, "reference_hash": "ab12", "seconds": 2.0}
    rows.append({"step": 2600, "event": "collapse", "message": "variance fell <b>far</b>"})
    (directory / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 31')
    for step in range(0, 3001, 150):
        shade = np.full((9, 7, 3), step // 20, np.uint8)
        (directory / "samples" / f"{step:06d}.png").write_bytes(png(shade))
    (directory / "reals.png").write_bytes(png(np.full((9, 7, 3), 255, np.uint8)))
    return directory


def write_rows(directory, rows, end="\n"):
    directory.mkdir(exist_ok=True)
    (directory / "metrics.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + end)
    return directory


def population(directory):
    """Two values with three seeds each; member 4 breaks after its first evaluation."""
    scores = {0: (5.0, 2.0), 1: (4.0, 4.0), 2: (9.0, 3.0), 3: (8.0, 7.0), 4: (0.0, None), 5: (6.0, 1.0)}
    rows = []
    for i, step in enumerate((10, 20)):
        for member, values in scores.items():
            if values[i] is not None:
                rows += [{"step": step, "member": member, "a/loss": values[i] / 2, "seconds": 1.0}]
        for member, values in scores.items():
            if values[i] is not None:
                row = {
                    "step": step,
                    "evaluation": "e",
                    "member": member,
                    "fid": values[i],
                    "fid_error": 0.1,
                    "odd": 1.0,
                }
                rows += [{**row, "n_fake": 7}]
        rows += [{"step": 12, "event": "nan", "member": 4, "message": "m"}] if step == 10 else []
    run = write_rows(directory / "run", rows)
    members = [{"member": m, "seed": m % 3, "values": {"w": 0.5 if m < 3 else 2.0}, "program": 0} for m in scores]
    config = {"recipe": "ring", "config": {}, "options": {"steps": 20, "seed": 0}, "members": members}
    (run / "config.json").write_text(json.dumps(config))
    (run / "samples").mkdir()
    for name in ("000010-member00", "000020-member00", "000020-member05"):
        (run / "samples" / f"{name}.png").write_bytes(b"")
    return run
