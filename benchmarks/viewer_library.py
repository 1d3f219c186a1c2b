"""How many bytes Cornerstone3D would add to the page: decision 37.

    python benchmarks/viewer_library.py [--out docs/results/viewer-library.json]

Needs npm, which installs the versions named below in a temporary folder. Each part is bundled and
minified by esbuild, as a page would load it; codecs are the WebAssembly files that decode.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cxr_transfer import provenance
from cxr_transfer.files import write_json

VERSION, ESBUILD = "5.14.0", "0.28.2"
PACKAGES = ("core", "tools", "dicom-image-loader")
SCOPE = "@cornerstonejs"
NODE = ("crypto", "events", "fs", "path", "url")
PARTS = {
    "core and loader": ("core", "dicom-image-loader"),
    "core, loader and tools": ("core", "dicom-image-loader", "tools"),
}
WORKERS = {
    "worker of the decoder": "dicom-image-loader/dist/esm/decodeImageFrameWorker.js",
    "worker of the tools": "tools/dist/esm/workers/computeWorker.js",
}


def run(folder: Path, *words: str) -> None:
    """Run a command in a folder; what it says is shown only when it fails."""
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{words[0]} failed: {done.stderr[-2000:]}")


def bundled(folder: Path, entry: Path) -> bytes:
    """Return a minified module with all that it imports."""
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    options = ("--bundle", "--minify", "--format=esm", "--target=es2022", "--platform=browser")
    # Node's own modules are not counted; WebAssembly is counted by itself.
    apart = ["--loader:.wasm=file", *(f"--external:{name}" for name in NODE)]
    run(folder, "node_modules/.bin/esbuild", str(entry), *options, *apart, f"--outdir={out}")
    return b"".join(path.read_bytes() for path in sorted(out.glob("*.js")))


def sizes(*contents: bytes) -> dict[str, int]:
    """Return bytes, and bytes once each is compressed."""
    compressed = (gzip.compress(content, mtime=0) for content in contents)
    return {"bytes": sum(map(len, contents)), "gzip": sum(map(len, compressed))}


def measured(folder: Path) -> dict[str, dict[str, int]]:
    """Return the sizes of all parts, of packages that are installed in a folder."""
    installed = folder / "node_modules" / SCOPE
    found = {}
    for name, packages in PARTS.items():
        entry = folder / "entry.js"
        lines = [f'export * as p{at} from "{SCOPE}/{one}";' for at, one in enumerate(packages)]
        entry.write_text("\n".join(lines), encoding="utf-8")
        found[name] = sizes(bundled(folder, entry))
    for name, path in WORKERS.items():
        found[name] = sizes(bundled(folder, installed / path))
    codecs = sorted(
        path for path in installed.rglob("*.wasm") if path.stem.endswith(("_decode", "openjphjs"))
    )
    found["codecs, WebAssembly"] = sizes(*(path.read_bytes() for path in codecs))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("docs/results/viewer-library.json"))
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wanted = [*(f"{SCOPE}/{one}@{VERSION}" for one in PACKAGES), f"esbuild@{ESBUILD}"]
        run(folder, "npm", "install", "--no-audit", "--no-fund", *wanted)
        found = measured(folder)
    content = {
        "command": "python benchmarks/viewer_library.py",
        "commit": provenance.commit(),
        "time": provenance.now(),
        "packages": wanted,
        "parts": found,
    }
    write_json(chosen.out, content)
    for name, size in found.items():
        print(f"{name}: {size['bytes']:,} bytes, {size['gzip']:,} compressed")


if __name__ == "__main__":
    main()
