"""Images, cases and a full disk, made by script: nothing here shows a patient."""

import contextlib
import io
import resource
from pathlib import Path

import numpy as np
from PIL import Image

from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.phantom import draw_radiograph


def grey(seed=0, height=132, width=148):
    """A smooth image without symmetry, (height, width) uint8; another seed gives another."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[0:height, 0:width]
    waves = np.sin(across / rng.uniform(15, 40)) + np.cos(down / rng.uniform(15, 40))
    radiograph = 110 + 40 * waves + 0.3 * across + rng.normal(0, 2, waves.shape)
    return np.rint(radiograph.clip(0, 255)).astype(np.uint8)


def full(seed=0, height=132, width=148):
    """The image of `grey`, over all of its 8 bits."""
    radiograph = grey(seed, height, width).astype(np.float64)
    return np.rint((radiograph - radiograph.min()) * (255 / np.ptp(radiograph))).astype(np.uint8)


def encoded(image, kind="PNG", **options):
    """The bytes of an array or a Pillow image in a format of Pillow's."""
    content = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(content, kind, **options)
    return content.getvalue()


def chest(seed=0):
    """An image that looks like a chest, (height, width) uint8; another seed gives another."""
    label = ("normal", "bacterial", "covid19")[seed % 3]
    return draw_radiograph(label, rng=np.random.default_rng(seed), pixels=148)


def write_image(path, seed=0):
    """Write an image that looks like a chest to ``path``; without loss where it is a PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(chest(seed)).save(path)
    return path


def case(name, label="normal", patient=None, **known):
    """A case of which no image need exist; by default a patient of its own."""
    return Case(Path(name), label, patient or f"patient of {name}", "made", **known)


@contextlib.contextmanager
def full_disk(free_bytes):
    """Let the system refuse to write any file beyond ``free_bytes``, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
