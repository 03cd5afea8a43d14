"""Checkpoints: PEFT adapter folders with a card, and what a run needs to go on after a kill."""

import json
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import UnionType

from huggingface_hub import model_info, snapshot_download
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from common import digests
from common.folders import expanded
from common.jsons import JsonObject, is_number
from lm import Adapter, LanguageModel
from lm.paths import lab_folder, replacing
from lm.peft_folder import CONFIG
from lm.peft_folder import WEIGHTS as ADAPTER
from lm.sources import misread
from pareto.combine import PreferenceError, preference

log = logging.getLogger(__name__)
FOLDER = Path(__file__).parents[1] / "assets" / "checkpoints"
FORMAT = 1
CARD, CURVES, STATE = "card.json", "curves.jsonl", "state.safetensors"
FILES = (ADAPTER, CONFIG, CARD, CURVES)
NEEDED: dict[str, type | UnionType] = {
    "base_hash": str,
    "method": str,
    "preference": list | None,
    "steps": int | None,
    "adapter_sha256": str,
}
MAX_BYTES = 2**30
"""Bytes of a checkpoint that is fetched from the hub."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message says why and what to do."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A trained adapter. card: what it was made of; curves: one object a training step."""

    id: str
    folder: Path
    card: JsonObject
    adapter: Adapter
    curves: list[JsonObject]

    @property
    def name(self) -> str:
        """What people read."""
        return str(self.card.get("name", self.id))

    @property
    def on_curve(self) -> bool:
        """Whether it is an end of a curve, every mix of whose ends was trained for; see pareto.curve."""
        return bool(self.card.get("hyperparameters", {}).get("positions"))

    @property
    def identity(self) -> dict[str, str]:
        """Which checkpoint it is, independent of its name."""
        return {"checkpoint": self.id, "adapter_sha256": self.card["adapter_sha256"]}

    @classmethod
    def load(cls, folder: Path | str, model: LanguageModel, name: str | None = None) -> "Checkpoint":
        """Reads a checkpoint of `model`, or any PEFT LoRA of it; other files of the folder are never opened.

        Parameters
        ----------
        name : what an adapter without a card is called (None: as its folder).

        Raises
        ------
        CheckpointError
            Where files are missing or damaged, or belong to another model.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise CheckpointError(f"{folder.name} is no folder: give one that holds a PEFT adapter.")
        if not (folder / ADAPTER).is_file():
            if below := sorted(
                (path.parent for path in folder.glob(f"*/{ADAPTER}")), key=lambda path: path.stat().st_mtime
            ):
                raise CheckpointError(
                    f"{folder.name} holds adapters in folders of their own, such as {below[-1].name}: give {folder.name}/{below[-1].name}."
                )
            raise CheckpointError(
                f"{ADAPTER} of {folder.name} is missing: save the adapter as safetensors (pickles are not read)."
            )
        carded = (folder / CARD).is_file()
        card = _json(folder / CARD) if carded else _default_card(folder, model, name or folder.name)
        _check(card, folder.name)
        if card["base_hash"] != model.hash:
            raise CheckpointError(
                f"{folder.name} was trained on {card.get('base_model')} ({card['base_hash']}), and this is {model.name} ({model.hash}): "
                "load that model, or train on this one."
            )
        if carded and digests.of_file(folder / ADAPTER) != card["adapter_sha256"]:
            raise CheckpointError(
                f"{ADAPTER} of {folder.name} is truncated or not the one of its card: copy the folder again."
            )
        try:
            adapter = Adapter.load(folder)
            model.engine.fits(adapter)
        except ValueError as error:
            raise CheckpointError(str(error)) from None
        curves = _curves(folder)
        if not all(map(_is_step, curves)) or len({tuple(step["reward"]) for step in curves}) > 1:
            raise CheckpointError(
                f"{CURVES} of {folder.name} holds a line that is no step of training: copy the folder again, or leave the file out."
            )
        return cls(card.get("id", folder.name), folder, card, adapter, curves)


def _default_card(folder: Path, model: LanguageModel, name: str) -> JsonObject:
    """What is known of an adapter that comes without a card."""
    declared = _json(folder / CONFIG).get("base_model_name_or_path")
    title = name
    if isinstance(declared, str) and _basename(declared) != _basename(model.name):
        title = f"{name}, trained on {declared}"
        log.warning("%s says that it was trained on %s, and this model is %s.", name, declared, model.name)
    return {
        "id": name,
        "name": title,
        "method": "adapter",
        "preference": None,
        "steps": None,
        "seed": None,
        "base_model": model.name,
        "base_hash": model.hash,
        "adapter_sha256": digests.of_file(folder / ADAPTER),
        "licence": "not told: ask its author",
    }


def _basename(name: str) -> str:
    """The part of a hub id or folder that tells which model it is."""
    return name.rstrip("/").rpartition("/")[2].lower()


def folders(model: LanguageModel, folder: Path = FOLDER) -> tuple[Path, Path]:
    """Where checkpoints of a model lie: in `folder`, which goes first, and where they were made here."""
    return folder, lab_folder(model.hash, "checkpoints")


def shipped(model: LanguageModel, folder: Path = FOLDER) -> list[Checkpoint]:
    """The checkpoints of `folders` that were trained on `model`, by id; what is damaged is left out and
    logged.
    """
    checkpoints: dict[str, Checkpoint] = {}
    for card in (card for place in folders(model, folder) for card in place.glob(f"*/{CARD}")):
        try:
            if card.parent.name not in checkpoints and _json(card).get("base_hash") == model.hash:
                checkpoints[card.parent.name] = Checkpoint.load(card.parent, model)
        except CheckpointError as error:
            log.warning("%s", error)
    return [checkpoint for _, checkpoint in sorted(checkpoints.items())]


def find(name: str, model: LanguageModel, folder: Path = FOLDER) -> Checkpoint:
    """The checkpoint of this id below `folder`, else the one in the folder or under the hub id `name`.

    Raises CheckpointError, which lists the ids below `folder`.
    """
    known = {checkpoint.id: checkpoint for checkpoint in shipped(model, folder)}
    if name in known:
        return known[name]
    try:
        fetched = fetch(name)
    except CheckpointError as error:
        remedy = f"those that are here are {', '.join(known)}" if known else f"none of {model.name} is here"
        raise CheckpointError(f"{str(error).removesuffix('.')}; {remedy}.") from None
    return Checkpoint.load(fetched, model, None if os.path.isdir(expanded(name)) else name)


def fetch(name: str, *, token: bool | None = None, cache: Path | None = None) -> Path:
    """A folder as it is, or a hub id ("owner/name") downloaded: adapter, card and curves only. Raises
    CheckpointError.

    token: False where the hub may not be told who asks. cache: a folder for the download; by default the
        hub's own.
    """
    if os.path.isdir(folder := expanded(name)):
        return Path(os.path.abspath(folder))  # so that "." has a name, too
    if advice := misread(name):
        raise CheckpointError(f"{name[:200]} {advice}.")
    try:
        siblings = model_info(name, files_metadata=True, token=token).siblings or []
        if (size := sum(file.size or 0 for file in siblings if file.rfilename in FILES)) > MAX_BYTES:
            raise CheckpointError(
                f"{name} holds {size / 2**30:.1f} GiB, and a checkpoint at most {MAX_BYTES / 2**30:g}: give a repository that holds an adapter alone."
            )
        return Path(snapshot_download(name, allow_patterns=list(FILES), token=token, cache_dir=cache))
    except CheckpointError:
        raise
    except Exception as error:  # any error: the hub's client, its connection, a proxy, the disk
        raise CheckpointError(
            f"{name[:200]} is no folder, and the hub did not give it ({type(error).__name__}): check the name."
        ) from None


def save(folder: Path, adapter: Adapter, card: JsonObject, curves: list[JsonObject]) -> None:
    """Writes a checkpoint beside its place and moves it there when it is whole. Raises OSError and leaves an
    older one as it was.
    """
    staging = folder.with_name(folder.name + ".part")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        adapter.save(staging, card["base_model"])
        whole = card | {
            "format": FORMAT,
            "id": folder.name,
            "adapter_sha256": digests.of_file(staging / ADAPTER),
        }
        (staging / CARD).write_text(json.dumps(whole, indent=1) + "\n", "utf-8")
        (staging / CURVES).write_text("".join(json.dumps(row) + "\n" for row in curves), "utf-8")
        if (folder / STATE).exists():
            shutil.copy2(folder / STATE, staging / STATE)
        old = _aside(folder)
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        staging.replace(folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def save_state(folder: Path, tensors: dict[str, Tensor], about: JsonObject) -> None:
    """Writes what a run needs to go on, atomically."""
    with replacing(folder / STATE) as part:
        save_file(tensors, part, {"about": json.dumps(about)})


def load_state(folder: Path) -> tuple[dict[str, Tensor], JsonObject] | None:
    """What save_state wrote, or None where there is none. Raises CheckpointError."""
    if _aside(folder).exists() and not folder.exists():
        _aside(folder).rename(folder)
    if not (folder / STATE).exists():
        return None
    try:
        with safe_open(folder / STATE, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["about"])
    except (SafetensorError, KeyError) as error:
        raise CheckpointError(
            f"{STATE} of {folder.name} is damaged ({error}): delete it to start anew."
        ) from None


def finished(folder: Path) -> tuple[JsonObject, list[JsonObject]] | None:
    """Card and curves of the checkpoint in a folder, or None where there is none. Raises CheckpointError."""
    return (_json(folder / CARD), _curves(folder)) if (folder / CARD).exists() else None


def _aside(folder: Path) -> Path:
    """Where the older checkpoint lies while the new one takes its place;
    a kill in between leaves it there.
    """
    return folder.with_name(folder.name + ".old")


def _check(card: JsonObject, name: str) -> None:
    if missing := [key for key in NEEDED if key not in card]:
        raise CheckpointError(
            f"{CARD} of {name} lacks {', '.join(missing)}: train it again, or complete its card."
        )
    for key, kind in {**NEEDED, "id": str, "name": str}.items():
        if key in card and not isinstance(card[key], kind):
            raise CheckpointError(
                f"{CARD} of {name} gives {key} {card[key]!r}, which is no {getattr(kind, '__name__', kind)}: mend it."
            )
    if card["preference"] is not None:
        try:
            preference(card["preference"], len(card["preference"]))
        except (PreferenceError, TypeError, ValueError):
            raise CheckpointError(
                f"{CARD} of {name} gives preference {card['preference']}: give weights that sum to 1."
            ) from None


def _curves(folder: Path) -> list[JsonObject]:
    path = folder / CURVES
    try:
        return (
            [json.loads(line) for line in path.read_text("utf-8").split("\n") if line.strip()]
            if path.is_file()
            else []
        )
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{CURVES} of {folder.name} is damaged ({error}): copy the folder again."
        ) from None


def _is_step(row: object) -> bool:
    """Whether a line of the curves has what charts draw: numbers a step,
    an objective's reward and share each.
    """
    if not isinstance(row, dict) or not isinstance(row.get("reward"), dict) or not row["reward"]:
        return False
    shares = row.get("shares") or row.get("coefficients")
    single = [row.get("step"), row.get("kl"), *row["reward"].values()]
    maybe = [row.get(name) for name in ("beta", "cosine", "applied", "length")]
    return (
        isinstance(shares, list)
        and len(shares) == len(row["reward"])
        and all(map(is_number, [*single, *shares]))
        and all(value is None or is_number(value) for value in maybe)
    )


def _json(path: Path) -> JsonObject:
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{path.parent.name} has no {path.name}: give a folder that holds a PEFT adapter."
        ) from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path.name} of {path.parent.name} is damaged ({error}): copy the folder again."
        ) from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path.name} of {path.parent.name} is no JSON object: copy the folder again.")
    return content
