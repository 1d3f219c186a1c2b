"""What decodes strangers' bytes is native code: its versions are those without known holes.

Advisories name packages, and not the libraries that their wheels carry: `make audit-deps` does not
see these.
"""

import re

import imagecodecs
from PIL import features

OPENJPEG = (2, 5, 4)
"""CVE-2025-54874: before it, a short stream writes beyond its buffer (2.5.1 to 2.5.3)."""


def numbers(text):
    return tuple(map(int, re.search(r"\d+(\.\d+)+", text)[0].split(".")))


def test_openjpeg_is_mended_wherever_it_is():
    assert numbers(imagecodecs.jpeg2k_version()) >= OPENJPEG
    assert numbers(features.version("jpg_2000")) >= OPENJPEG
