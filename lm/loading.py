"""From a model's name to a LanguageModel: its folder is checked, its weights are packed once and cached."""

import json
import logging
import os
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import joblib
import torch

from common.jsons import JsonObject
from lm import folder as files
from lm import memory, sources
from lm.codec import PromptError
from lm.devices import gpu_here, placement
from lm.engines.base import Engine
from lm.engines.geometry import unsupported
from lm.engines.native.build import NoCompiler
from lm.engines.native.engine import NativeEngine
from lm.engines.native.pack import GRIDS
from lm.engines.native.weights import (
    Weights,
    open_saved,
    to_state,
)
from lm.engines.torch.batched import BatchedEngine
from lm.engines.torch.graphs.cuda_graphs import Replay
from lm.engines.torch.packed import PackedStack
from lm.engines.torch.stack import Stack, fastest, matrix_units
from lm.engines.transformers import ReferenceEngine
from lm.model import LanguageModel
from lm.packed_cache import PACKED, default_folder, packed_file
from lm.sources import SourceError, reason
from lm.transformers_folder import (
    BUILDING,
    check_blocks,
    check_head,
    frozen,
    read_config,
    read_model,
    read_tokenizer,
    stop_ids_of,
)

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

log = logging.getLogger(__name__)
LONGEST_CONTEXT = 4096
ENGINES = ("auto", "rows", "native", "packed", "batched", "reference")
PACKING = ("auto", "native", "packed")
"""Engines that take weights in few bits where a model is Llama-style and there is no GPU."""
UNDONE = ("fp8", "mxfp4")
"""Ways of quantising that transformers undoes where there is no GPU; the second has two codes in a byte."""


def load(
    name: str | None = None,
    *,
    engine: str = "auto",
    bits: int | None = None,
    progress: sources.Progress | None = None,
) -> LanguageModel:
    """Loads a causal language model, and cuts PyTorch's threads to the processors that a container may use.

    Parameters
    ----------
    name : a folder, a hub id, SmolLM2-135M-Instruct for the embedded default, or None for the first of
        $TRADEWIND_MODEL or else that default
    engine : "native" (Llama-style models on CPU), "packed" (the same weights in PyTorch, where no C compiler
        is), "batched" (one float32 or bfloat16 batch in PyTorch: GPUs, and many rows on CPUs with matrix units),
        "reference" (transformers, any family and device), "auto" (the quickest for a few rows) or "rows" (the
        quickest for many)
    bits : of a weight where our CPU engines pack it: 8, or 4 for all but embedding and head, which takes about
        half the memory and lies further from the model; None for $TRADEWIND_BITS or else 8
    progress : is told the share done and what is done, while files are fetched and packed

    Raises
    ------
    lm.sources.SourceError
        where the model's files are missing or damaged
    ValueError
        where an argument does not fit the model
    """
    if engine not in ENGINES:
        raise ValueError(f"Engine is {engine!r}: give one of {', '.join(ENGINES)}.")
    if bits not in (None, *GRIDS):
        raise ValueError(f"Bits is {bits!r}: give 4 or 8.")
    torch.set_num_threads(min(torch.get_num_threads(), joblib.cpu_count()))
    if engine == "rows":
        engine = "batched" if matrix_units() else "auto"
    report = progress or (lambda fraction, text: log.info("%3.0f%% %s", 100 * fraction, text))
    name = name or [*sources.allowed(os.environ.get("TRADEWIND_MODEL")), sources.DEFAULT_NAME][0]
    folder, label = fetch(name, report), sources.label_of(name)
    if (folder / PACKED).exists():
        if bits is not None:
            raise ValueError(f"Bits is {bits}: {label} comes in bits of its own, so leave it out.")
        return _default_model(label, folder, engine)
    return _transformers(label, folder, engine, bits, report)


def fetch(name: str, report: sources.Progress) -> Path:
    """The checked folder of a model, fetched or converted first where it is not here. Raises SourceError."""
    if name == sources.DEFAULT_NAME and not Path(name).is_dir():
        return default_folder(report)
    settings = sources.config_folder(name)
    if (settings / "config.json").exists() and not (settings / PACKED).exists():
        files.config_of(settings)
        read_config(sources.label_of(name), settings)
    folder = sources.folder_of(name)
    if not (folder / PACKED).exists():
        files.config_of(folder)
        files.weight_files(folder)
    return folder


def check(name: str) -> None:
    """Checks a model's folder, or whether the hub knows its id; nothing is fetched. Raises SourceError."""
    if name == sources.DEFAULT_NAME and not Path(name).is_dir():
        return
    folder = sources.known(name)
    if folder is not None and not (folder / PACKED).exists():
        files.config_of(folder)
        files.weight_files(folder)


def _default_model(label: str, folder: Path, engine: str) -> LanguageModel:
    """From a folder that `_converted` made. Its tokenizer and config are read without transformers' model
    code, which takes seconds to import.
    """
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    return _packed(label, folder / PACKED, tokenizer, stop_ids_of(folder, tokenizer), engine)


def _packed(
    label: str, packed: Path, tokenizer: "PreTrainedTokenizerFast", stop_ids: frozenset[int], engine: str
) -> LanguageModel:
    """From weights that `save` wrote."""
    weights, metadata = open_saved(packed)
    values = json.loads(metadata["config"])
    gpu = gpu_here()

    def rebuilt() -> "PreTrainedModel":
        return _placed(_rebuild(weights, values), gpu)

    running: Engine
    torch_model = rebuilt
    if engine in ("native", "packed") or (engine == "auto" and gpu is None):
        running = _on_cpu(weights, SimpleNamespace(**values), engine)
    else:
        model = rebuilt()
        running, torch_model = _in_torch(model, engine), lambda: model
    return _checked(
        LanguageModel(
            label, metadata["hash"], tokenizer, stop_ids, running, torch_model, values["model_type"]
        )
    )


def _placed(model: "PreTrainedModel", gpu: torch.device | None) -> "PreTrainedModel":
    """Where gradients are computed: on a GPU where there is one, also beside the native engine."""
    if gpu is not None:
        model.to(gpu, torch.bfloat16)  # type: ignore[arg-type]  # transformers wraps `to` and loses its self
    return model


def _on_cpu(weights: Weights, config: SimpleNamespace, engine: str) -> NativeEngine | BatchedEngine:
    """Our own engine for packed weights: compiled, or else PyTorch's kernels."""
    context = min(config.max_position_embeddings, LONGEST_CONTEXT)
    if engine != "packed":
        try:
            return NativeEngine(weights, config, context, torch.get_num_threads())
        except NoCompiler as error:
            if engine == "native":
                raise
            log.warning("%s Until then PyTorch decodes, which is slower.", error)
    return BatchedEngine(PackedStack(weights, config), context)


def _rebuild(weights: Weights, values: JsonObject) -> "PreTrainedModel":
    """The transformers model with exactly these weights. values: its config."""
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    config = AutoConfig.for_model(**values)
    config.tie_word_embeddings = "head" not in weights.matrices
    with BUILDING, no_init_weights():
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        model.load_state_dict(to_state(weights, config), assign=True)
        model.tie_weights()
    return frozen(model)


def _transformers(
    label: str, folder: Path, engine: str, bits: int | None, report: sources.Progress
) -> LanguageModel:
    values = files.config_of(folder)
    config = read_config(label, folder)
    _check_window(label, config)
    weights = files.weight_files(folder)
    files.require_declared(label, values, weights)
    check_blocks(label, values, weights)
    check_head(label, config, weights)
    tokenizer = read_tokenizer(label, folder, config)
    stop_ids = stop_ids_of(folder, tokenizer)
    gpu = gpu_here()
    why_not = unsupported(config) if gpu is None else "a GPU is used"
    if engine in ("native", "packed") and why_not:
        raise ValueError(f"The {engine} engine cannot run {label}: {why_not}. Give another engine, or auto.")
    if bits is not None and (why_not or engine not in PACKING):
        why_not = why_not or f"the {engine} engine packs no weights"
        raise ValueError(f"Bits is {bits}, and {label} is not packed: {why_not}. Leave it out.")
    report(0.0, f"loading {label}")
    if engine in PACKING and why_not is None:
        packed = packed_file(label, config, weights, bits or _usual_bits(), report)
        return _packed(label, packed, tokenizer, stop_ids, engine)
    if gpu is None:
        memory.require(label, _float32_bytes(config, weights))
    model = read_model(
        label,
        folder,
        config,
        dtype=torch.float32 if gpu is None else torch.bfloat16,
        device_map=placement(gpu),
    )
    running = _in_torch(model, engine)
    return _checked(
        LanguageModel(
            label, files.checksum(weights), tokenizer, stop_ids, running, lambda: model, config.model_type
        )
    )


def _check_window(label: str, config: "PreTrainedConfig") -> None:
    """Raises SourceError for a Llama with a window: transformers keeps it in the cache and not in a single pass,
    so that an answer would depend on how it is computed.
    """
    window = getattr(config, "sliding_window", None)
    if config.model_type == "llama" and window is not None:
        if window < min(config.max_position_embeddings, LONGEST_CONTEXT):
            raise SourceError(
                f"config.json of {label} has sliding_window {window}, and layers of a llama have no window: "
                "remove it, or give model_type mistral, whose layers have one."
            )


def _float32_bytes(config: "PreTrainedConfig", weights: list[Path]) -> int:
    """Memory that a model takes in float32, or as it is stored where it stays quantised."""
    stored = getattr(config, "quantization_config", None)
    if stored is not None and stored.get("quant_method") not in UNDONE:
        return files.stored_bytes(weights)
    return 4 * sum(count * (2 if kind == "U8" else 1) for _, kind, count in files.tensors(weights))


def _in_torch(model: "PreTrainedModel", engine: str) -> BatchedEngine | ReferenceEngine:
    """PyTorch's engine for a transformers model: in one batch where it is Llama-style and on one device."""
    reason = unsupported(model.config)
    if engine == "batched" and reason:
        raise ValueError(f"The batched engine cannot run this model: {reason}. Give another engine, or auto.")
    devices = {parameter.device for parameter in model.parameters()}
    fits = reason is None and len(devices) == 1
    if fits and (engine == "batched" or (engine != "reference" and model.device.type != "cpu")):
        context = min(model.config.max_position_embeddings, LONGEST_CONTEXT)
        replay = None if model.device.type == "cpu" else Replay.on(model.device)
        return BatchedEngine(Stack(model, fastest(model.device)), context, replay)
    return ReferenceEngine(model, LONGEST_CONTEXT)


def _usual_bits() -> int:
    """The bits of a model for which the caller names none."""
    value = os.environ.get("TRADEWIND_BITS") or "8"
    if value not in map(str, GRIDS):
        raise ValueError(f"TRADEWIND_BITS is {value!r}: give 4 or 8.")
    return int(value)


def _checked(model: LanguageModel) -> LanguageModel:
    """The model. Raises SourceError where the tokenizer reads no text, or is another model's.

    Tokens that were added to it, such as an image's, may lie beyond the model's vocabulary,
    as long as no prompt needs them.
    """
    try:
        ids = model.text_ids("Hi")
    except Exception as error:  # of whatever kind: settings of many formats
        raise SourceError(
            f"The tokenizer of {model.name} reads no text ({reason(error)}): fetch the model again."
        ) from error
    most = model.tokenizer.backend_tokenizer.get_vocab_size(with_added_tokens=False) - 1
    most = max([most, *ids, *_chat_ids(model)])
    if most >= model.engine.vocabulary:
        raise SourceError(
            f"The tokenizer of {model.name} has token {most}, and the model "
            f"knows 0 to {model.engine.vocabulary - 1}: take the tokenizer that the model was trained with."
        )
    return model


def _chat_ids(model: LanguageModel) -> list[int]:
    try:
        return model.chat_ids("Hi")
    except PromptError as error:  # plain text can be continued
        log.warning("%s", error)
        return []
