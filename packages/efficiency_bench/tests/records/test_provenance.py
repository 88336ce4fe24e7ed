import subprocess
from pathlib import Path

import pytest
import torch

from efficiency_bench.records.provenance import git_state, package_versions


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    root.mkdir()
    git(root, "init", "--quiet")
    (root / ".gitignore").write_text("ignored/\n")
    (root / "a.py").write_text("1\n")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "first")
    return root


def test_versions_of_what_is_installed_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("efficiency_bench.records.provenance.PACKAGES", ("torch", "no-such-distribution"))
    versions = package_versions()
    assert set(versions) == {"python", "torch"}
    assert torch.__version__.startswith(versions["torch"])


def test_a_clean_and_a_dirty_repository(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    assert git_state(repository) == {"commit": commit, "dirty": False}
    assert git_state(repository / "a.py") == {"commit": commit, "dirty": False}
    assert git_state(repository / "not" / "there.json") == {"commit": commit, "dirty": False}
    (repository / "a.py").write_text("2\n")
    assert git_state(repository) == {"commit": commit, "dirty": True}
    git(repository, "checkout", "--quiet", "a.py")
    (repository / "new.py").write_text("3\n")
    assert git_state(repository) == {"commit": commit, "dirty": True}


def test_an_ignored_folder_says_nothing_of_its_repository(repository: Path) -> None:
    (repository / "ignored" / "deep").mkdir(parents=True)
    assert git_state(repository / "ignored" / "deep") == {"commit": None, "dirty": None}


def test_before_the_first_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    assert git_state(tmp_path) == {"commit": None, "dirty": False}


def test_no_repository_and_no_git(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = {"commit": None, "dirty": None}
    assert git_state(tmp_path) == nothing
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(repository) == nothing
