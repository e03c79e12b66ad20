"""The lock file, the wheel and the Makefile hold what a fresh machine needs."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from functools import partial
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.paths import ROOT

LOCK = (ROOT / "requirements.lock").read_text()
IMAGE_LOCK = (ROOT / "deploy" / "requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def locked(lock: str = LOCK) -> dict[str, str]:
    return {
        canonicalize_name(name): version
        for name, version in re.findall(r"^([\w.-]+)==(\S+)", lock, re.MULTILINE)
    }


def test_lock_pins_every_dependency_to_a_version_that_the_project_allows() -> None:
    versions = locked()
    extras = [
        text for texts in PROJECT["project"]["optional-dependencies"].values() for text in texts
    ]
    for text in PROJECT["project"]["dependencies"] + extras + PROJECT["dependency-groups"]["dev"]:
        wanted = Requirement(text)
        assert canonicalize_name(wanted.name) in versions, (
            f"{wanted.name} is not locked: run `make lock`"
        )
        assert wanted.specifier.contains(versions[canonicalize_name(wanted.name)]), (
            f"{text} is not what is locked: run `make lock`"
        )


def test_images_get_what_is_tested_and_nothing_that_only_development_needs() -> None:
    image = locked(IMAGE_LOCK)
    assert image.items() <= locked().items()
    for text in PROJECT["project"]["dependencies"]:
        assert canonicalize_name(Requirement(text).name) in image
    assert not {"pytest", "ruff", "mypy", "hatchling"} & image.keys()


@pytest.mark.parametrize("lock", [LOCK, IMAGE_LOCK], ids=["development", "images"])
def test_lock_has_a_hash_for_every_package_and_names_no_place(lock: str) -> None:
    blocks = re.split(r"^(?=[\w.-]+==)", lock, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(locked(lock))
    for block in blocks:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block.splitlines()[0]
    assert not re.search(r"https?:|://|--(extra-)?index|--find-links|--trusted", lock)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make wheel` makes, in another folder than dist/."""
    folder = tmp_path_factory.mktemp("wheel")
    recipe = (ROOT / "Makefile").read_text().partition("\nwheel:")[2].split("\n\n")[0]
    command = recipe.splitlines()[1].strip().removeprefix("@$(BIN)/python ").split()
    subprocess.run(
        [sys.executable, *command, "-d", folder], cwd=ROOT, check=True, capture_output=True
    )
    [found] = folder.glob("*.whl")
    return found


def test_wheel_holds_all_that_runs_without_the_checkout(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "babygun").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert package <= names
    assert {
        f"babygun/dev/etcd/build_files/{path.name}" for path in (ROOT / "etcd" / "build").iterdir()
    } <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not any(name.startswith("tests/") for name in names)


def test_wheel_is_installed_into_an_empty_environment_and_runs_there(
    wheel: Path, tmp_path: Path
) -> None:
    """Its requirements are those of this environment: a test downloads nothing."""
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv/bin/python"
    [packages] = (tmp_path / "venv/lib").glob("python*/site-packages")
    (packages / "requirements.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--no-index", wheel]
    subprocess.run(pip, check=True, capture_output=True, cwd=tmp_path)
    where = "import babygun.cli.main; print(babygun.__file__)"
    run = partial(subprocess.run, check=True, capture_output=True, text=True, cwd=tmp_path)
    assert run([python, "-P", "-c", where], env={}).stdout.startswith(str(packages))
    said = run([tmp_path / "venv/bin/babygun", "certificates", "made", "--api-name", "x"], env={})
    assert (tmp_path / "made/api/https.pem").exists(), said


def test_make_help_lists_every_target() -> None:
    phony = re.findall(r"^\.PHONY: (\w.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    help = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert re.findall(r"^  make (\S+)", help, re.MULTILINE) == " ".join(phony).split()


def test_nothing_fixes_the_seed_of_pythons_hashes() -> None:
    """The seed is random, so nobody can choose names in a request whose hashes collide."""
    files = [ROOT / "Dockerfile", ROOT / "Makefile"]
    for folder in ("babygun", "deploy", "scripts"):
        files += [
            path
            for path in (ROOT / folder).rglob("*")
            if "__pycache__" not in path.parts and path.is_file()
        ]
    assert not [path for path in files if b"PYTHONHASHSEED" in path.read_bytes()]
