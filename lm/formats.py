"""Models in formats that are not read: by which files each is known, and what to give in its place."""

from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

FOLDER = "give a folder that transformers' save_pretrained wrote, or a hub id"
ORIGIN = "give the model that it was made from, with safetensors weights"
CAUSAL = "give a causal language model, such as a Llama, Qwen or Gemma"
SAVED = "load it where you trust it and write it as safetensors with transformers' save_pretrained"


class Format(NamedTuple):
    """files: patterns of the names by which it is known; title: what is held; remedy: what to give."""

    files: tuple[str, ...]
    title: str
    remedy: str


PIPELINES = (
    Format(("model_index.json",), "a diffusers pipeline, which writes no text", CAUSAL),
    Format(("modules.json",), "a sentence-transformers model, which writes no text", CAUSAL),
)
"""Known by an index of the models that they are made of."""
FORMATS = (
    Format(("*.gguf", "*.ggml"), "a GGUF model, which is not read", ORIGIN),
    Format(("*.onnx", "onnx/*.onnx", "*.ort"), "an ONNX model, which is not read", ORIGIN),
    Format(("*.xml",), "an OpenVINO model, which is not read", ORIGIN),
    Format(("*.mlpackage", "*.mlmodel", "*.mlmodelc"), "a Core ML model, which is not read", ORIGIN),
    Format(("*.npz",), "an MLX model, which is not read", ORIGIN),
    Format(("*.tflite", "*.task", "*.litertlm"), "a LiteRT model, which is not read", ORIGIN),
    Format(("*.engine",), "a TensorRT model, which is not read", ORIGIN),
    Format(("*.nemo",), "a NeMo model, which is not read", "export it to a folder of transformers' first"),
    Format(
        ("*.h5", "*.ckpt.index", "*.pb"),
        "TensorFlow weights, which are not read",
        "write them as safetensors with transformers 4 (from_pretrained with from_tf=True, then save_pretrained)",
    ),
    Format(
        ("*.msgpack",),
        "Flax weights, which are not read",
        "write them as safetensors with transformers 4 (from_pretrained with from_flax=True, then save_pretrained)",
    ),
    Format(
        ("*/*_model_states.pt",),
        "a checkpoint of DeepSpeed, which is not read",
        "run its zero_to_fp32.py with --safe_serialization and give the folder that it writes",
    ),
    Format(
        ("*.distcp", "*/*.distcp"),
        "a sharded checkpoint of FSDP, which is not read",
        "gather it with `accelerate merge-weights` and give the folder that it writes",
    ),
    Format(
        ("consolidated*", "params.json"),
        "weights in their makers' own format, which is not read",
        "give the model in that of transformers",
    ),
    Format(
        ("*.zip", "*.tar", "*.tar.*", "*.tgz", "*.7z", "*.rar", "*.gz"),
        "a packed folder, which is not read",
        "unpack it, and give the folder",
    ),
    Format(
        ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl"), "pickles, which can run code and are not read", SAVED
    ),
)


def held(names: Iterable[str], formats: Iterable[Format] = (*PIPELINES, *FORMATS)) -> str:
    """`holds a GGUF model, which is not read (a.gguf): give ...`, or nothing where no format is known. names: paths
    within a folder.
    """
    names = sorted(names)
    found = (
        f"holds {format.title} ({name}): {format.remedy}"
        for format in formats
        for pattern in format.files
        for name in names
        if fnmatch(name.lower(), pattern) and name.count("/") == pattern.count("/")
    )
    return next(found, "")


def within(folder: Path) -> str:
    """Why a folder without a config or weights is no model, and what to give; nothing where that is not known."""
    names = [path.relative_to(folder).as_posix() for depth in ("*", "*/*") for path in folder.glob(depth)]
    if pipeline := held(names, PIPELINES):
        return pipeline
    *others, last = _models_in(folder) or [""]
    if others:
        return f"holds models in {', '.join(others)} and {last}: give one of them"
    return f"holds a model in {last}: give that folder" if last else held(names)


def _models_in(folder: Path) -> list[str]:
    """The folders below that hold a model of their own."""
    configs = (path for depth in ("*", "snapshots/*") for path in folder.glob(f"{depth}/config.json"))
    return sorted(
        config.parent.relative_to(folder).as_posix()
        for config in configs
        if any(config.parent.glob("model*.safetensors"))
    )
