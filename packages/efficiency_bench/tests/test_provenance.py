import hashlib
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from efficiency_bench.errors import UsageError
from efficiency_bench.provenance import git_state, package_versions, source_digest


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
    monkeypatch.setattr("efficiency_bench.provenance.PACKAGES", ("torch", "no-such-distribution"))
    versions = package_versions()
    assert set(versions) == {"python", "torch"}
    assert torch.__version__.startswith(versions["torch"])


def test_the_digest_is_over_paths_and_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("one", "two"):
        package = tmp_path / place / "digested_package"
        (package / "inner").mkdir(parents=True)
        (package / "__init__.py").write_bytes(b"")
        (package / "inner" / "b.py").write_bytes(b"x = 1\r\n")
        (package / "data.json").write_bytes(place.encode())
    plain = hashlib.sha256(b"__init__.py\0" + b"0\0" + b"inner/b.py\0" + b"7\0" + b"x = 1\r\n").hexdigest()
    digests = []
    for place in ("one", "two"):
        monkeypatch.setattr(sys, "path", [str(tmp_path / place), *sys.path])
        importlib.invalidate_caches()
        digests.append(source_digest("digested_package"))
    assert digests == [plain, plain]
    (tmp_path / "two" / "digested_package" / "inner" / "b.py").write_bytes(b"x = 2\r\n")
    assert source_digest("digested_package") != plain
    (tmp_path / "two" / "digested_package" / "inner" / "b.py").write_bytes(b"x = 1\r\n")
    (tmp_path / "two" / "digested_package" / "inner" / "b.py").rename(
        tmp_path / "two" / "digested_package" / "inner" / "c.py"
    )
    assert source_digest("digested_package") != plain


@pytest.mark.parametrize("name", ["no_such_package", "json.decoder", "../json", "", "sys"])
def test_no_digest_without_a_package(name: str) -> None:
    with pytest.raises(UsageError, match="is not installed"):
        source_digest(name)


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
