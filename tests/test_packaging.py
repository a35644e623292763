"""An installed RecallQL works beside other packages that are called `models` and `schema`.

The source distribution is built, a wheel from it, and the wheel goes into an environment of its own that borrows the
dependencies of this one.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import recallql
from tests.servers import REPOSITORY

ROOMS = ["breadth", "models", "resolvers", "schema"]

pytestmark = [pytest.mark.packaging, pytest.mark.xdist_group("packaging")]


# The playground is taken as it was built, or left out.
SKIP_PLAYGROUND = {"RECALLQL_SKIP_PLAYGROUND_BUILD": "1"}


def run(*command: str | Path, cwd: Path, env: dict[str, str] = SKIP_PLAYGROUND) -> str:
    """Runs a command that must succeed, and returns its output."""
    hidden = {"PYTHONPATH", "VIRTUAL_ENV"}
    inherited = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(command, cwd=cwd, env=inherited | env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", folder, cwd=REPOSITORY)
    return next(folder.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build_wheel(unpack(sdist, folder), folder)
    return next(folder.glob("*.whl"))


def unpack(sdist: Path, folder: Path) -> Path:
    with tarfile.open(sdist) as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extractall(folder, filter="data")
        else:  # the first releases of Python 3.11
            archive.extractall(folder)
    return next(folder.iterdir())


def build_wheel(source: Path, folder: Path, env: dict[str, str] = SKIP_PLAYGROUND) -> None:
    run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder, cwd=source, env=env)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that has RecallQL and, like PyPI, a `schema` of somebody else's."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    programs = folder / "bin"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", programs / "python"]
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=folder)
    packages = next(folder.glob("lib/python*/site-packages"))
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    (packages / "schema.py").write_text("raise ImportError('this is the schema of somebody else')")
    return programs


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A project that keeps its own models where RecallQL is started."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("raise ImportError('these are the models of somebody else')")
    return tmp_path


def test_the_wheel_takes_one_name_and_carries_the_rooms(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"recallql", f"recallql-{recallql.__version__}.dist-info"}
    assert [room for room in ROOMS if f"recallql/_rooms/{room}/__init__.py" not in names] == []
    built = (REPOSITORY / "recallql" / "_playground" / "index.html").is_file()
    assert ("recallql/_playground/index.html" in names) is built


@pytest.mark.parametrize("command", [["recallql"], ["python", "-m", "recallql"]], ids=" ".join)
def test_the_command_works_in_a_folder_with_models_of_its_own(
    installed: Path, elsewhere: Path, command: list[str]
) -> None:
    program = [installed / command[0], *command[1:]]
    assert recallql.__version__ in run(*program, "--version", cwd=elsewhere)
    assert run(*program, "schema", cwd=elsewhere) == (REPOSITORY / "schema.graphql").read_text(encoding="utf-8")


def test_a_program_that_imports_recallql_gets_its_rooms(installed: Path, elsewhere: Path) -> None:
    code = "import recallql, models, schema; print(models.__file__, schema.__file__)"
    files = run(installed / "python", "-c", code, cwd=elsewhere).split()
    assert all("_rooms" in Path(file).parts for file in files)


def test_without_the_npm_registry_the_installation_goes_on_without_the_playground(sdist: Path, tmp_path: Path) -> None:
    source = unpack(sdist, tmp_path)
    shutil.rmtree(source / "recallql" / "_playground", ignore_errors=True)
    unreachable = {"npm_config_registry": "http://127.0.0.1:9", "npm_config_cache": str(tmp_path / "cache")}
    build_wheel(source, tmp_path, env=unreachable)
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    assert "recallql/http/playground.py" in names
    assert not any("_playground" in name for name in names)
