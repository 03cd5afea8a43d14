"""A model's folder, checked before anything is loaded: its config, its weights, the memory they take."""

import json
import math
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypedDict

from common import digests
from common.jsons import JsonObject
from lm import formats
from lm.paths import cache_folder, replacing
from lm.sources import SourceError

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "F4": 0.5, "I16": 2, "F16": 2}
"""Bytes of a number in a safetensors file, where it is not 4 (F32, I32) or 8 (F64, I64)."""
BYTES |= {"U16": 2, "BF16": 2, "F64": 8, "I64": 8, "U64": 8}
WHOLE = {"I8", "U8", "I16", "U16", "I32", "U32", "I64", "U64"}
"""Types of whole numbers, which are codes where they stand for a matrix."""
QUANTISED = re.compile(
    r"\.(qweight|weight_packed|weight_scale\w*|scales|SCB|weight\.(absmax|SCB|quant_map|quant_state\S*))$"
)
"""Names of tensors beside codes: of GPTQ, AWQ, MLX, compressed-tensors, ModelOpt, FP8 and bitsandbytes."""
MIN_KEPT, SETTLED = 2**26, 2.0
"""Bytes of a file whose digest is kept, as it takes a tenth of a second or more; seconds after its last
change from which on the system's times tell it from a later one.
"""
MAX_HEADER = 100_000_000
"""Longest header of a safetensors file, in bytes: the format's own bound."""


def config_of(folder: Path) -> JsonObject:
    """config.json of a model's folder. Raises SourceError where it has none that is a causal model's."""
    path = folder / "config.json"
    adapter = folder / "adapter_config.json"
    if adapter.exists() and not path.exists():
        base = read_json(adapter).get("base_model_name_or_path") or "the model that it was trained on"
        raise SourceError(
            f"{folder} holds an adapter: name its base model, "
            f"{base}, as the model, and load the adapter on top of it."
        )
    if adapter.exists():
        raise SourceError(
            f"{folder} holds both a model and an adapter: keep the two in folders of their own."
        )
    if not path.exists():
        why = formats.within(folder)
        raise SourceError(
            f"{folder} {why}."
            if why
            else f"{folder} is no model folder, config.json is missing: {formats.FOLDER}."
        )
    config = read_json(path)
    if not isinstance(config.get("model_type"), str):
        raise SourceError(
            f"config.json of {folder} has no model_type: "
            "give a folder that transformers' save_pretrained wrote."
        )
    stored = config.get("quantization_config", config.get("quantization"))
    if isinstance(stored, dict) and "bits" in stored and "quant_method" not in stored:
        raise SourceError(
            f"{folder} is stored as MLX quantises, which is not read: give the model that it was made from, "
            "or write it in 16 bits with `mlx_lm.convert --dequantize`."
        )
    kinds = [kind for kind in config.get("architectures") or [] if isinstance(kind, str)]
    if kinds and all("Classification" in kind or "QuestionAnswering" in kind for kind in kinds):
        raise SourceError(
            f"{folder} holds a {kinds[0]}, which writes no text: give a causal language model instead."
        )
    return config


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that transformers reads from a folder. Raises SourceError where one is missing or
    cut short.
    """
    if (folder / WEIGHTS).exists():
        files = [folder / WEIGHTS]
    elif (folder / INDEX).exists():
        files = _indexed(folder)
        if not files:
            raise SourceError(f"{INDEX} of {folder} names no weight files: fetch the model again.")
        if missing := [path.name for path in files if not path.is_file()]:
            raise SourceError(
                f"{folder} lacks {len(missing)} of {len(files)} weight files, "
                f"{missing[0]} first: fetch the model again."
            )
    else:
        raise SourceError(f"{_without_weights(folder)}.")
    if not any([header(path) for path in files]):
        raise SourceError(f"The weight files of {folder} hold no tensors: fetch the model again.")
    return files


def _indexed(folder: Path) -> list[Path]:
    """The files that an index names, below its folder and nowhere else."""
    named = read_json(folder / INDEX).get("weight_map")
    names = [*named.values()] if isinstance(named, dict) else []
    if not all(isinstance(name, str) for name in names):
        return []
    if outside := next((name for name in names if {"..", "/"} & {*Path(name).parts}), None):
        raise SourceError(
            f"{INDEX} of {folder} names {outside}, which lies outside of the folder: fetch the model again."
        )
    return [folder / name for name in sorted({*names})]


def require_declared(label: str, config: JsonObject, files: list[Path]) -> None:
    """Raises SourceError where weights are stored quantised and config.json does not say how: without their
    scales, they would be read as plain numbers.
    """
    fields = {*config} | {*(config.get("text_config") or {})}
    name = next((name for name, kind, _ in tensors(files) if _is_of_codes(name, kind)), None)
    if name is not None and "quantization_config" not in fields:
        raise SourceError(
            f"{label} is stored quantised (its files hold {name}), and its config.json "
            "has no quantization_config that says how: fetch the whole model again, or give it in 16 bits."
        )


def _is_of_codes(name: str, kind: str) -> bool:
    return bool(QUANTISED.search(name)) or (kind in WHOLE and name.endswith(".weight"))


def _without_weights(folder: Path) -> str:
    if lost := next((path.name for path in sorted(folder.glob("*.safetensors")) if not path.exists()), None):
        return f"{lost} of {folder} is a link to a file that is gone: fetch the model again"
    if other := sorted(path.name for path in folder.glob("*.safetensors") if "consolidated" not in path.name):
        return f"{folder} holds {other[0]} but neither {WEIGHTS} nor {INDEX}: fetch the whole model again, or give another one"
    why = (
        formats.within(folder) or f"holds no .safetensors weights, and others are not read: {formats.FOLDER}"
    )
    return f"{folder} {why}"


class Stored(TypedDict):
    """A tensor in the header of a safetensors file."""

    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


def header(path: Path) -> dict[str, Stored]:
    """The tensors of a safetensors file by name. Raises SourceError where
    the file is none, or shorter than its header says.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            text = file.read(length) if length <= MAX_HEADER else b""
    except OSError as error:
        raise SourceError(
            f"{path} cannot be read ({error.strerror}): change its rights, or fetch the model again."
        ) from None
    size = path.stat().st_size
    try:
        tensors: dict[str, Stored] = json.loads(text)
        tensors.pop("__metadata__", None)
        end = 8 + length + max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SourceError(f"{path} is cut short or no safetensors file: fetch the model again.") from None
    if end != size:
        raise SourceError(f"{path} has {size:,} bytes where its header says {end:,}: fetch the model again.")
    return tensors


def tensors(files: list[Path]) -> Iterator[tuple[str, str, int]]:
    """Name, type and count of numbers of every tensor of safetensors files."""
    for path in files:
        for name, entry in header(path).items():
            yield name, entry["dtype"], math.prod(entry["shape"])


def stored_bytes(files: list[Path]) -> int:
    """What the tensors take as they are stored."""
    return int(sum(count * BYTES.get(kind, 4) for _, kind, count in tensors(files)))


def checksum(files: list[Path]) -> str:
    """16 hex digits of the sha256 of a model's weights."""
    return digests.short("".join(_digest(path) for path in files).encode())


def _digest(path: Path) -> str:
    """SHA-256 of a file. That of a large file is kept, since to read gigabytes takes seconds; its key is all
    by which the system tells that a file has changed.
    """
    stat = path.stat()
    changed = max(stat.st_mtime, stat.st_ctime)
    if stat.st_size < MIN_KEPT or time.time() - changed < SETTLED:
        return digests.of_file(path)
    about = (path.resolve(), stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    kept = cache_folder("digests") / digests.short(repr(about).encode())
    try:
        digest = kept.read_text(encoding="ascii")
    except (OSError, ValueError):
        digest = ""
    if len(digest) != 64:
        digest = digests.of_file(path)
        with suppress(OSError), replacing(kept) as part:  # no space: it is read again
            part.write_text(digest, encoding="ascii")
    return digest


def read_json(path: Path) -> JsonObject:
    """A JSON object of a model's folder. Raises SourceError where there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else type(error).__name__
        raise SourceError(f"{path} cannot be read ({why}): fetch the model again.") from None
    if not isinstance(value, dict):
        raise SourceError(f"{path} holds no JSON object: fetch the model again.")
    return value
