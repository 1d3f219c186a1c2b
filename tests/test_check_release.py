"""The release checklist notices what is open."""

import hashlib
import subprocess
from pathlib import Path

import check_release
import pytest
import yaml

HOME = Path(__file__).parent.parent


def write_sums(folder, **contents):
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    sums = [f"{hashlib.sha256(text).hexdigest()}  {name}\n" for name, text in contents.items()]
    (folder / "SHA256SUMS").write_text("".join(sums))


def test_hashes_beside_the_archives_are_compared(tmp_path):
    wheel = f"cxr_transfer-{check_release.version()}-py3-none-any.whl"
    assert "no" in check_release.hashes_are_right(tmp_path)
    write_sums(tmp_path, **{wheel: b"a wheel"})
    assert check_release.hashes_are_right(tmp_path) == ""
    (tmp_path / wheel).write_bytes(b"another wheel")
    assert wheel in check_release.hashes_are_right(tmp_path)
    write_sums(tmp_path, **{wheel: b"a wheel"})
    (tmp_path / "other-1.0.0.tar.gz").write_bytes(b"")
    assert "other-1.0.0.tar.gz" in check_release.hashes_are_right(tmp_path)


def test_archives_of_another_version_are_noticed(tmp_path):
    write_sums(tmp_path, **{"cxr_transfer-99.0.0.tar.gz": b"a source archive"})
    assert "99.0.0" in check_release.hashes_are_right(tmp_path)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository of one commit with the version of this package."""
    package = tmp_path / "src/cxr_transfer"
    package.mkdir(parents=True)
    (package / "about.py").write_text('__version__ = "1.2.3"\n')
    monkeypatch.setattr(check_release, "HOME", tmp_path)
    for name in (
        "GIT_AUTHOR_NAME",
        "GIT_COMMITTER_NAME",
        "GIT_AUTHOR_EMAIL",
        "GIT_COMMITTER_EMAIL",
    ):
        monkeypatch.setenv(name, "test")

    def git(*words):
        subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    return git


def test_a_tag_is_annotated_and_on_this_commit(repository):
    assert check_release.tag_is_free() == ""
    assert "no tag v1.2.3" in check_release.tag_is_here()
    repository("tag", "v1.2.3")
    assert "not annotated" in check_release.tag_is_here()
    repository("tag", "-d", "v1.2.3")
    repository("tag", "-a", "v1.2.3", "-m", "1.2.3")
    assert check_release.tag_is_here() == ""
    assert "v1.2.3" in check_release.tag_is_free()
    repository("commit", "--allow-empty", "-m", "second")
    assert "another commit" in check_release.tag_is_here()


def test_the_changelog_has_sections_with_known_groups():
    lines = (HOME / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
    sections = [line for line in lines if line.startswith("## ")]
    assert sections[0] == "## [Unreleased]"
    groups = {line.removeprefix("### ") for line in lines if line.startswith("### ")}
    assert groups <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


@pytest.mark.parametrize(
    "form", sorted((HOME / ".github/ISSUE_TEMPLATE").glob("*.yml")), ids=lambda form: form.stem
)
def test_issue_forms_ask_for_no_image(form):
    content = yaml.safe_load(form.read_text(encoding="utf-8"))
    if form.stem == "config":
        return
    identifiers = [field["id"] for field in content["body"] if "id" in field]
    assert len(identifiers) == len(set(identifiers)) >= 2
    if form.stem in ("bug", "result"):
        assert "attach no image of a patient" in form.read_text(encoding="utf-8")
    if form.stem == "bug":
        assert "cxr doctor --json" in form.read_text(encoding="utf-8")
