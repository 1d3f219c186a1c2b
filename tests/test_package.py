"""The order of the package: who may import whom, and who may print."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cxr_transfer
from cxr_transfer.extras import EXTRAS

PACKAGE = Path(cxr_transfer.__file__).parent
LAYERS = (
    (
        "about",
        "errors",
        "extras",
        "text",
        "http_requests",
        "tables",
        "labels",
        "data_frame",
        "files",
        "own_folder",
        "provenance",
        "quiet",
        "forks",
        "openvino_runtime",
        "parallel",
        "progress",
        "ray_session",
        "storage",
    ),
    ("radiograph",),
    ("datasets",),
    ("statistics",),
    ("models",),
    ("runs",),
    ("training",),
    ("figures",),
    ("export",),
    ("inference",),
    ("evaluation",),
    ("subjects",),
    ("audits",),
    ("studies",),
    ("acceptance",),
    ("reports",),
    ("serving",),
    ("pacs",),
    ("client_requests",),
    ("client_job_requests",),
    ("client_jobs",),
    ("client",),
    (
        *("api", "api_audits", "api_protocols", "api_studies", "api_acceptance"),
        *("api_reports", "api_readers"),
    ),
    ("cli",),
)
RANK = {package: rank for rank, layer in enumerate(LAYERS) for package in layer}
FENCES = {
    "pydicom": ("radiograph/dicom", "pacs/"),
    **dict.fromkeys(("highdicom", "pynetdicom", "dicomweb_client", "cryptography"), ("pacs/",)),
    "requests": ("pacs/dicomweb.py",),
    "matplotlib": ("figures/",),
    "lightning": ("training/",),
    "typer": ("cli/",),
    "imagecodecs": tuple(
        f"radiograph/{name}.py" for name in ("codestream", "tiff_pixels", "png_pixels")
    ),
    **dict.fromkeys(("onnx", "onnxruntime", "onnxscript"), ("export/formats.py",)),
    "pyarrow": ("inference/table.py",),
    "ray": ("ray_session.py", "inference/ray_backend.py"),
    **dict.fromkeys(("fsspec", "s3fs", "gcsfs", "botocore"), ("storage.py",)),
    **dict.fromkeys(("fastapi", "starlette", "uvicorn", "h11"), ("serving/",)),
    "prometheus_client": ("serving/", "pacs/node_metrics.py"),
    "openvino": ("openvino_runtime.py",),
    "nncf": ("export/openvino.py",),
    "keras": ("subjects/",),
    "httpx": ("subjects/", "http_requests.py", "client.py"),
    "jinja2": ("evaluation/rendering.py",),
    "reportlab": ("figures/page.py", "figures/tags.py"),
    "docx": ("reports/word.py",),
}
MODULES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def imports(name):
    """Every module that ``name`` imports, wherever in its text, in full."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively: its place cannot be seen"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def packages(name):
    ours = (module.split(".") for module in imports(name) if module.startswith("cxr_transfer."))
    return {parts[1] for parts in ours}


def test_folders_import_only_from_those_above_them():
    for name in MODULES.keys() - {"__init__.py", "recipes/__init__.py"}:
        package = name.partition("/")[0].removesuffix(".py")
        assert package in RANK, f"{name} has no place in the order of the package"
        below = {other for other in packages(name) if RANK[other] > RANK[package]}
        assert not below, f"{name} imports from below: {below}"


def test_libraries_stay_behind_their_fences():
    for name in MODULES:
        for library in {module.partition(".")[0] for module in imports(name)} & FENCES.keys():
            assert name.startswith(FENCES[library]), f"{name} imports {library}"


def test_images_data_sets_and_statistics_know_no_torch():
    for name in MODULES:
        if name.startswith(("radiograph/", "datasets/", "statistics/")):
            assert "torch" not in {module.partition(".")[0] for module in imports(name)}, name


def test_who_answers_knows_nothing_of_training_evaluation_and_audits():
    for name in MODULES:
        if name.startswith(("inference/", "serving/", "export/", "pacs/")):
            judges = {"training", "evaluation", "audits", "studies", "acceptance", "reports"}
            known = packages(name) & judges
            assert not known, f"{name} imports {known}"


@pytest.mark.slow
def test_only_the_command_line_prints_and_exits():
    speaks = {"print", "input", "exit", "quit", "SystemExit"}
    for name, tree in TREES.items():
        caught = {
            part
            for node in ast.walk(tree)
            if isinstance(node, ast.ExceptHandler) and node.type
            for part in ast.walk(node.type)
        }  # Lightning exits by itself at Ctrl-C: to catch that is not to exit
        names = {
            node.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node not in caught
        }
        calls = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        said = names & speaks | calls & {"sys.exit", "os._exit", "sys.stdout", "sys.stderr"}
        assert name.startswith("cli/") or not said, f"{name} uses {said}"


def test_help_starts_without_torch():
    script = (
        "import sys; from cxr_transfer.cli import app; app(['--help'], standalone_mode=False); "
        "print({'torch', 'lightning', 'matplotlib', 'scipy', 'jinja2'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr == ""
    assert "study" in done.stdout
    assert done.stdout.endswith("set()\n")


@pytest.mark.slow
def test_who_answers_imports_nothing_that_only_training_brings():
    """In an environment where no package of [train] can be imported, all of these can."""
    answering = ("radiograph", "inference", "serving", "pacs", "export", "statistics/temperature")
    drawing = ("figures/page", "figures/colours", "figures/explanation")
    opening = ("engine", "folder", "heat_maps", "imagenet_names", "metadata", "pretrained")
    models = tuple(f"models/{name}" for name in (*opening, "reference", "released"))
    modules = [
        name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name in MODULES
        if name.startswith((*answering, *drawing, *models))
    ]
    script = f"""
import importlib, sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {EXTRAS["train"]}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Without())
for name in {modules}:
    importlib.import_module(f"cxr_transfer.{{name}}")
print(len({modules}))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout == f"{len(modules)}\n"


def test_every_field_is_described_with_its_noun():
    """What reads "seed: Of the bootstrap" in an editor's tip or on a page names nothing."""
    opening = re.compile(r"^ +([a-z_0-9]+): (?:Of|As|The same)\b", re.MULTILINE)
    nameless = {
        f"{name}: {node.name}: {found}"
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        for found in opening.findall(ast.get_docstring(node) or "")
    }
    assert not nameless


def test_files_and_functions_are_short():
    """A file of 400 lines and a function of 60 fit into a head; what is longer is parted."""
    long = {name for name, path in MODULES.items() if len(path.read_text().splitlines()) > 400}
    assert not long
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
                assert lines <= 60, f"{name}: {node.name} has {lines} lines"


def test_nothing_leads_up_to_the_face_of_the_package():
    """What modules need of the package itself stands in ``about.py``."""
    constants = {"__version__", "INTENDED_USE", "DEFAULT_MODEL"}
    for name in MODULES.keys() - {"__init__.py"}:
        assert not packages(name) & constants, name
