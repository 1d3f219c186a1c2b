"""Manifests, recipes and model folders, damaged, and what must be true of the answers to them."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
import shutil
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch

from cxr_transfer import DEFAULT_MODEL
from cxr_transfer.models.checkpoint import save_checkpoint
from cxr_transfer.models.metadata import RELEASED
from cxr_transfer.models.reference import REFERENCE
from cxr_transfer.models.registry import build
from cxr_transfer.radiograph import Preprocessing
from cxr_transfer.training.recipe_files import shipped_recipes
from fuzz_ended import Ended, strict_json, unprintable
from fuzz_mutations import by_bytes
from made import write_image

NO_CLASSES = ("", "nan", "none", "null", "n/a", "na", "#n/a")  # "inf" may be somebody's; it is told
STATUSES = ("ok", "cannot_assess", "error")


class Given:
    """One sort of input that is given to commands one by one, and how it is damaged."""

    sort = ""

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed = seed
        self.folder = folder

    def place(self, number: int, rng: np.random.Generator) -> list[str]:
        """Write an input into the folder, and return the command's words for it."""
        raise NotImplementedError

    def judged(self, words: Sequence[str], ended: Ended) -> Iterator[str]:
        """Yield what is wrong with an answer, beside `faults`."""
        yield from ()

    def undamaged(self) -> list[str]:
        """Write an input that is whole, and return the words of the command that takes most."""
        raise NotImplementedError


CELLS = (
    *("", " ", "NaN", "nan", "None", "null", "N/A", "Normal", "NORMAL", "normal ", "normal\u200b"),
    *("\ufeffnormal", "норmal", "covid19", "COVID-19", "0", "1", "-5", "1e400", "inf", "1_000"),
    *(
        "٣",
        "１２",
        "5.5",
        "999999999999999999999999",
        "0x10",
        "true",
        "train",
        "val",
        "TEST",
        "Train ",
    ),
    *(
        "=cmd()",
        "@sum",
        "<script>",
        "\x1b[31m",
        "a\nb",
        "a\r\nb",
        "\x00",
        "\x85",
        "\u2028",
        "\u202e",
    ),
    *("/etc/passwd", "../../../etc/passwd", ".", "..", "~", "images", "C:\\images\\image0.png"),
    *(
        "images\\image1.png",
        "\\\\server\\share",
        "file:///etc/passwd",
        "images/image0.png",
        "/dev/zero",
    ),
    *("pipe", "loop", "images/", "x" * 300, "y" * 5000, "z" * 140_000, "/" * 3000, "%s%n", "{0}"),
    *("1234567890123", "2020-01-01", "M", "F", "O", "PA", "AP", "lateral", "person1", "ß", "İ"),
)
SEPARATORS = (",", ";", "\t", "|", ", ", " ", "\x1f")
ENCODINGS = ("utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-16-le", "utf-32", "cp1252", "cp037")
LABELS = ("normal", "bacterial", "covid19")


class Manifests(Given):
    """CSV files, for `cxr data check` and `cxr evaluate`."""

    sort = "manifests"

    def __init__(self, seed: int, folder: Path, checkpoint: Path) -> None:
        super().__init__(seed, folder)
        self._checkpoint = checkpoint
        for number in range(12):
            write_image(folder / "images" / f"image{number}.png", number)
        os.mkfifo(folder / "pipe")
        (folder / "loop").symlink_to("loop")

    def _table(self, rng: np.random.Generator) -> list[list[str]]:
        names = ["path", "label", "patient", "source", "view", "age", "sex", "split"]
        names = names[: int(rng.integers(2, 9))]
        rows = []
        for number in range(12):
            row = {
                "path": f"images/image{number}.png",
                "label": LABELS[number % 3],
                "patient": f"p{number // 2 if rng.random() < 0.2 else number}",
                "source": f"s{number % 2}",
                "view": ("PA", "AP")[number % 2],
                "age": str(20 + number),
                "sex": ("M", "F")[number % 2],
                "split": ("train", "validation", "test")[number // 4],
            }
            rows.append([row[name] for name in names])
        return [names, *rows]

    def place(self, number: int, rng: np.random.Generator) -> list[str]:
        rows = self._table(rng)
        for _ in range(int(rng.integers(0, 4))):
            at = int(rng.integers(len(rows)))
            row = rows[at]
            match rng.integers(8):
                case 0 if len(rows) > 1:
                    del rows[at]
                case 1:
                    rows.insert(int(rng.integers(len(rows) + 1)), list(row))
                case 2 if row:
                    del row[int(rng.integers(len(row)))]
                case 3:
                    row.append(CELLS[int(rng.integers(len(CELLS)))])
                case 4:
                    column = int(rng.integers(8))
                    cell = CELLS[int(rng.integers(len(CELLS)))]
                    for each in rows[1:]:
                        each[column : column + 1] = [cell] if column < len(each) else []
                case _ if row:
                    row[int(rng.integers(len(row)))] = CELLS[int(rng.integers(len(CELLS)))]
        separator = SEPARATORS[int(rng.integers(len(SEPARATORS)))] if rng.random() < 0.5 else ","
        ending = ("\n", "\r\n", "\r", "\n\n")[int(rng.integers(4)) if rng.random() < 0.3 else 0]
        text = io.StringIO(newline="")
        if len(separator) == 1 and rng.random() < 0.8:
            quoting = (csv.QUOTE_MINIMAL, csv.QUOTE_ALL)[int(rng.integers(2))]
            csv.writer(text, delimiter=separator, lineterminator=ending, quoting=quoting).writerows(
                rows
            )
        else:  # as somebody writes who never heard of quotes
            text.write(ending.join(separator.join(row) for row in rows))
        encoding = ENCODINGS[int(rng.integers(len(ENCODINGS)))] if rng.random() < 0.3 else "utf-8"
        content = text.getvalue().encode(encoding, "replace")
        if rng.random() < 0.3:
            content = by_bytes(content, bytes(range(256)), rng)
        name = f"manifest{number}.csv"
        (self.folder / name).write_bytes(content)
        out = f"out{number}"
        kind = rng.random()
        if kind < 0.5:
            return ["data", "check", name, "--json"]
        if kind < 0.6:
            return ["data", "check", name]
        words = ["evaluate", str(self._checkpoint), "--data", name, "--out", out]
        # With a part that no manifest has, it ends when all is read.
        return words if kind < 0.64 else [*words, "--part", "nothing"]

    def undamaged(self) -> list[str]:
        rows = self._table(np.random.default_rng(8))
        rows = [row[:2] for row in rows]
        (self.folder / "whole.csv").write_text("\n".join(",".join(row) for row in rows))
        return ["evaluate", str(self._checkpoint), "--data", "whole.csv", "--out", "out"]

    def judged(self, words: Sequence[str], ended: Ended) -> Iterator[str]:
        if "--json" in words and ended.code in (0, 1):
            found = strict_json(ended.out.decode())
            for archive in found["archives"]:
                for label in archive["classes"]:
                    plain = "".join(
                        sign for sign in label if unicodedata.category(sign) not in ("Cf", "Cc")
                    )
                    if plain.strip().lower() in NO_CLASSES or plain.strip() != label:
                        yield f"the class {label!r}"


VALUES = (
    *(
        "true",
        "false",
        "0",
        "-1",
        "1",
        "2.5",
        "1e400",
        "nan",
        "inf",
        "-inf",
        "9999999999999999999999",
    ),
    *(
        '""',
        '"x"',
        '"*"',
        '"head"',
        '"../../etc/passwd"',
        '"\\u0000"',
        '"\\u001b[31m"',
        "[]",
        "[[]]",
    ),
    *('["head"]', '["*"]', "{}", "{ a = 1 }", "1979-05-27", "0x10", '"NaN"', "1_000", '"""a\nb"""'),
    *('"model_0"', '"imagenet"', '"random"', '"resnet50"', '"simple_cnn"', '"dataset_1"', "1e-320"),
    *('"lungs"', '"whole"', "224", "31", "1024", "100000", '"' + "x" * 5000 + '"', "[" * 3000),
)
KEYS = (
    *("name", "title", "network", "dataset", "initial", "new_head", "coverage", "stages", "fit"),
    *(
        "penalty",
        "background_swap",
        "train",
        "learning_rate",
        "batch_size",
        "max_epochs",
        "stop_after",
    ),
    *("reduce_after", "reduce_factor", "keep", "height", "width", "crop", "detail", "equalise"),
    *("__class__", "naem", '"quoted key"', "a.b", '"\\u001b[31m"', "preprocessing"),
)


class Recipes(Given):
    """TOML files, for `cxr train`, which ends before it decodes: its images are missing."""

    sort = "recipes"

    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed, folder)
        self._texts = [path.read_text(encoding="utf-8") for path in shipped_recipes().values()]
        rows = "".join(f"absent{number}.png,{LABELS[number % 3]}\n" for number in range(9))
        (folder / "absent.csv").write_text("path,label\n" + rows)

    def place(self, number: int, rng: np.random.Generator) -> list[str]:
        lines = self._texts[int(rng.integers(len(self._texts)))].splitlines()
        for _ in range(int(rng.integers(1, 4))):
            at = int(rng.integers(len(lines))) if lines else 0
            value = VALUES[int(rng.integers(len(VALUES)))]
            key = KEYS[int(rng.integers(len(KEYS)))]
            match rng.integers(7):
                case 0 if lines:
                    del lines[at]
                case 1 if lines:
                    lines.insert(int(rng.integers(len(lines) + 1)), lines[at])
                case 2 if lines and "=" in lines[at]:
                    lines[at] = f"{key} = {lines[at].partition('=')[2]}"
                case 3:
                    lines.insert(at, f"{key} = {value}")
                case 4:
                    lines.insert(at, ("[stages]", "[[stages]]", "[preprocessing]", "[x]")[at % 4])
                case _ if lines and "=" in lines[at]:
                    lines[at] = f"{lines[at].partition('=')[0]} = {value}"
        content = "\n".join(lines).encode("utf-8", "replace")
        if rng.random() < 0.3:
            content = by_bytes(content, bytes(range(256)), rng)
        name = f"recipe{number}.toml"
        (self.folder / name).write_bytes(content)
        words = ["train", name, "--data", "absent.csv", "--out", f"run{number}"]
        if rng.random() < 0.1:
            words += ["--from", "absent"]
        return words

    def undamaged(self) -> list[str]:
        (self.folder / "whole.toml").write_text(self._texts[1], encoding="utf-8")
        return ["train", "whole.toml", "--data", "absent.csv", "--out", "run"]

    def judged(self, words: Sequence[str], ended: Ended) -> Iterator[str]:
        if ended.code in (0, 1):
            yield "a training without images ended well"
        if (self.folder / words[words.index("--out") + 1]).exists():
            yield "a refused recipe left a run folder"


LEAVES = (
    *(None, True, False, 0, -1, 1, 2, 2.5, 1e308, 10**30, math.nan, math.inf, "", "x", "../x"),
    *("../../../../etc/passwd", "/etc/passwd", "a" * 64, "A" * 5000, "\x00", "\x1b[31m", "\u202e"),
    *("a\nb", "<script>", "=cmd()", "simple_cnn", "resnet50", "normal", [], {}, [[]], {"a": {}}),
    *(["normal", "normal"], ["a"], ["normal", "bacterial", "covid19", "more"], "lungs", 48, 1000),
)


class Models(Given):
    """Model folders, for `cxr predict` and `cxr card`."""

    sort = "models"

    def __init__(self, seed: int, folder: Path, checkpoint: Path) -> None:
        super().__init__(seed, folder)
        self._checkpoint = checkpoint
        write_image(folder / "image.png", 1)

    def place(self, number: int, rng: np.random.Generator) -> list[str]:
        name = f"model{number}"
        target = self.folder / name
        if rng.random() < 0.3:
            self._place_released(target, rng)
            return self._words(name, rng)
        shutil.copytree(self._checkpoint, target)
        card = json.loads((target / "checkpoint.json").read_text(encoding="utf-8"))
        weights = (target / "checkpoint.safetensors").read_bytes()
        kind = rng.random()
        if kind < 0.35:
            for _ in range(int(rng.integers(1, 4))):
                self._change_leaf(card, rng)
        elif kind < 0.75:
            weights = self._changed_weights(weights, rng)
            if rng.random() < 0.8:
                card["weights_sha256"] = hashlib.sha256(weights).hexdigest()
        text = json.dumps(card)
        if 0.75 <= kind < 0.9:
            text = by_bytes(text.encode(), bytes(range(256)), rng).decode("latin-1")
        elif kind >= 0.9:
            self._change_files(target, rng)
            return self._words(name, rng)
        (target / "checkpoint.json").write_bytes(text.encode("utf-8", "surrogatepass"))
        (target / "checkpoint.safetensors").write_bytes(weights)
        self._add_reports(target, rng)
        return self._words(name, rng)

    def _place_released(self, target: Path, rng: np.random.Generator) -> None:
        """Copy a released model, and change what lies beside its weights."""
        shutil.copytree(RELEASED / DEFAULT_MODEL, target)
        if rng.random() < 0.6:
            path = target / REFERENCE
            path.write_bytes(self._changed_weights(path.read_bytes(), rng))
            return
        path = target / ("audit.json", "checkpoint.json")[int(rng.integers(2))]
        content = json.loads(path.read_text(encoding="utf-8"))
        for _ in range(int(rng.integers(1, 4))):
            self._change_leaf(content, rng)
        path.write_bytes(json.dumps(content).encode("utf-8", "surrogatepass"))

    @staticmethod
    def _words(name: str, rng: np.random.Generator) -> list[str]:
        if rng.random() < 0.4:
            return ["card", name]
        return ["predict", "image.png", "--model", name, "--json"]

    @staticmethod
    def _change_leaf(card: dict[str, object], rng: np.random.Generator) -> None:
        place: dict[str, object] | list[object] = card
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                return
            key = keys[int(rng.integers(len(keys)))]
            inner = place[key]
            if isinstance(inner, dict | list) and inner and rng.random() < 0.7:
                place = inner
                continue
            if rng.random() < 0.15:
                del place[key]
            elif rng.random() < 0.1 and isinstance(place, dict):
                place[f"more {key}"] = LEAVES[int(rng.integers(len(LEAVES)))]
            else:
                place[key] = LEAVES[int(rng.integers(len(LEAVES)))]
            return

    @staticmethod
    def _changed_weights(content: bytes, rng: np.random.Generator) -> bytes:
        match rng.integers(6):
            case 0:
                return by_bytes(content, bytes(range(256)), rng)
            case 1:  # the header's length
                length = int(rng.choice([0, 1, 8, 1 << 20, 1 << 40, (1 << 63) - 1]))
                return length.to_bytes(8, "little") + content[8:]
            case 2:
                size = int.from_bytes(content[:8], "little")
                header = json.loads(content[8 : 8 + size])
                Models._change_leaf(header, rng)
                text = json.dumps(header).encode()
                return len(text).to_bytes(8, "little") + text + content[8 + size :]
            case 3:
                return content[: int(rng.integers(len(content)))]
        tensors = safetensors.numpy.load(content)
        name = list(tensors)[int(rng.integers(len(tensors)))]
        tensor = tensors[name]
        match rng.integers(6):
            case 0:
                del tensors[name]
            case 1:
                tensors[f"{name}.more"] = tensor
            case 2:
                kinds = (np.float16, np.float64, np.int8, np.uint8, np.bool_, np.complex64)
                tensors[name] = tensor.astype(kinds[int(rng.integers(len(kinds)))])
            case 3:
                tensors[name] = tensor.reshape(-1)[: int(rng.integers(tensor.size + 1))]
            case 4:
                odd = np.array(tensor, copy=True)
                wrong = (np.nan, np.inf, 1e38, -1e38) if odd.dtype.kind == "f" else (-1, 9999)
                odd.reshape(-1)[: 1 + odd.size // 3] = wrong[int(rng.integers(len(wrong)))]
                tensors[name] = odd
            case _:
                with np.errstate(all="ignore"):
                    tensors[name] = (tensor * np.float32(1e30)).astype(tensor.dtype)
        size = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + size])["__metadata__"]
        if rng.random() < 0.3:
            key = list(metadata)[int(rng.integers(len(metadata)))]
            known = json.loads(metadata[key])
            Models._change_leaf(known, rng)
            metadata[key] = json.dumps(known) if rng.random() < 0.9 else "{"
        return safetensors.numpy.save(tensors, metadata)

    @staticmethod
    def _change_files(target: Path, rng: np.random.Generator) -> None:
        files = sorted(path.name for path in target.iterdir())
        name = files[int(rng.integers(len(files)))]
        path = target / name
        match rng.integers(6):
            case 0:
                path.unlink()
            case 1:
                path.unlink()
                path.mkdir()
            case 2:
                path.unlink()
                path.symlink_to("/etc/passwd")
            case 3:
                path.write_bytes(b"")
            case 4:
                path.unlink()
                path.symlink_to(name)
            case _:
                path.write_bytes(b"\x80\x04\x95" + path.read_bytes())

    @staticmethod
    def _add_reports(target: Path, rng: np.random.Generator) -> None:
        """Put files beside the checkpoint that `cxr card` looks for."""
        for name in ("audit.json", "report.json", "split.csv", "reference.safetensors"):
            if rng.random() > 0.1:
                continue
            content = (
                json.dumps({"checks": [{"name": 1}], "verdict": "pass", "weights_sha256": "x"})
                if name.endswith(".json")
                else "path,label\nx,y\n"
            ).encode()
            (target / name).write_bytes(by_bytes(content, bytes(range(256)), rng))

    def undamaged(self) -> list[str]:
        return ["predict", "image.png", "--model", str(self._checkpoint), "--json"]

    def judged(self, words: Sequence[str], ended: Ended) -> Iterator[str]:
        if "--json" in words and ended.code in (0, 1):
            (line,) = ended.out.decode("utf-8", "surrogateescape").splitlines()
            row = strict_json(line)
            if row["status"] not in STATUSES:
                yield "an unknown status"
            values = list(row["probabilities"].values())
            if any(not 0 <= value <= 1 for value in values):
                yield "a score outside of [0, 1]"
        elif ended.code == 0 and (wrong := unprintable(ended.out.decode(errors="replace"))):
            yield f"control character in a model card: {wrong}"
        if b"root:" in ended.out + ended.err:
            yield "a file of the system was read"


def checkpoint_in(folder: Path) -> Path:
    """Write a small network of random weights."""
    torch.manual_seed(4)
    card = {
        "name": "random",
        "architecture": "simple_cnn",
        "labels": LABELS,
        "preprocessing": Preprocessing(height=48, width=48),
        "epsilon": 1e-3,
    }
    save_checkpoint(folder, build("simple_cnn", 3, size=(48, 48), epsilon=1e-3), card)
    return folder
