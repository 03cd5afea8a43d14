"""PEFT LoRA folders: what Tradewind reads of the format, what it writes, and what it refuses by name."""

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import regex
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

Parts = dict[tuple[int, str], tuple[Tensor, Tensor]]
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
UNMERGED = {"alora_invocation_tokens", "arrow_config"}
"""Options that PEFT cannot merge: what they add depends on the text."""
MERGE = "merge it into its model with PEFT's merge_and_unload and load that model"

HONOURED = {
    "peft_type",
    "r",
    "lora_alpha",
    "use_rslora",
    "rank_pattern",
    "alpha_pattern",
    "init_lora_weights",
}
HARMLESS = {
    *("task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision", "inference_mode"),
    # The tensors' names tell.
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"),
    # Tensors of theirs are refused by name.
    *("bias", "modules_to_save", "trainable_token_indices", "ensure_weight_tying"),
    # Of training, or of where it ran.
    *("lora_dropout", "velora_config", "runtime_config"),
    # How other options are read.
    *("fan_in_fan_out", "megatron_core", "qalora_group_size"),
    # Settings of init_lora_weights.
    *("loftq_config", "eva_config", "corda_config", "lora_ga_config"),
}
"""Options that change no number of an answer beyond what the file's tensors show."""
REFUSED = {
    "use_dora": "DoRA",
    "alora_invocation_tokens": "an activated LoRA",
    "use_qalora": "QA-LoRA",
    "lora_bias": "a LoRA with biases of its own",
    "layer_replication": "layer replication",
    "target_parameters": "LoRA of parameters outside of linear layers",
    "megatron_config": "a LoRA of Megatron's layers",
    "arrow_config": "Arrow routing",
    "monteclora_config": "MonteCLoRA",
    "use_bdlora": "BD-LoRA",
    "kasa_config": "KaSA",
}
KEEPS_BASE = {True, False, None, "true", "false", "gaussian", "orthogonal", "eva", "mica"}
"""Values of init_lora_weights that leave the base model's weights as they are."""
PATIENCE = 0.2
"""Seconds for a pattern of the config to find a module: some take forever."""
MAX_SETTING = 1e9
"""Largest rank and alpha: beyond, and at NaN, no answer is finite."""
WRAPPERS = re.compile(
    r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.|^module\."
)
"""What torch.compile, FSDP, checkpointing and data parallelism put into the names of tensors."""
PART = re.compile(
    r"(?:base_model\.model\.)*(?P<stack>\D+?)\.(?P<layer>\d+)\.(?P<path>.+)"
    r"\.lora_(?P<half>[AB])(?:\.(?P<adapter>[^.]+))?\.weight"
)
OTHER_TOWERS = re.compile(r"vision|visual|audio|speech|image|encoder(?!.*decoder)")


def read(folder: Path) -> tuple[str, Parts]:
    """Reads a LoRA folder as PEFT computes it.

    Returns
    -------
    The path of the list of layers, and (layer, path within it) -> (a [rank, in], b [out, rank]) in float32,
    with the scale in b.

    Raises
    ------
    ValueError
        Where the folder is no LoRA, is damaged, holds no safetensors, or uses an option that changes its
        answers and that Tradewind does not compute.
    """
    config, tensors = _files(folder)
    refuse(config, folder.name)
    try:
        return _parts(folder, config, tensors)
    except TimeoutError:
        raise ValueError(
            f"{CONFIG} of {folder.name} has a pattern that takes too long: name the modules in plain words."
        ) from None


def _parts(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> tuple[str, Parts]:
    halves: dict[tuple[str, int, str], dict[str, Tensor]] = {}
    adapters = set()
    for name, tensor in tensors.items():
        match = PART.fullmatch(WRAPPERS.sub("", name))
        if match is None or OTHER_TOWERS.search(match["stack"]):
            raise ValueError(_no_part(name, folder.name))
        key = match["stack"], int(match["layer"]), match["path"]
        halves.setdefault(key, {})[match["half"]] = tensor.float()
        adapters.add(match["adapter"] or "one without a name")
    if len(adapters) > 1:
        raise ValueError(
            f"{WEIGHTS} of {folder.name} holds several adapters, {' and '.join(sorted(adapters))}: "
            "save each in a folder of its own."
        )
    for option in ("modules_to_save", "trainable_token_indices"):
        if config.get(option):
            raise ValueError(
                f"The adapter in {folder.name} has {option} {config[option]!r:.80}, "
                f"whose tensors its {WEIGHTS} lacks: copy it again."
            )
    whole = all(len(half) == 2 and all(each.ndim == 2 for each in half.values()) for half in halves.values())
    if not halves or not whole:
        raise ValueError(
            f"The adapter in {folder.name} lacks a half of a matrix, or all of them: copy it again."
        )
    if len(stacks := {stack for stack, _, _ in halves}) > 1:
        raise ValueError(
            f"The adapter in {folder.name} changes layers of {' and '.join(sorted(stacks))}: "
            "give one that changes one stack of decoder layers."
        )
    if not all(tensor.isfinite().all() for half in halves.values() for tensor in half.values()):
        raise ValueError(
            f"The adapter in {folder.name} holds values that are no finite numbers: train it again."
        )
    for (stack, layer, path), half in halves.items():
        if not _targeted(config, layer, f"{stack}.{layer}.{path}"):
            raise ValueError(
                f"The adapter in {folder.name} changes {path} of layer {layer}, "
                f"which target_modules, exclude_modules or layers_to_transform of its {CONFIG} leaves out: "
                "copy it again."
            )
        rank = _of_pattern(config, "rank_pattern", f"{stack}.{layer}.{path}", "r")
        if half["A"].shape[0] != rank:
            raise ValueError(
                f"The adapter in {folder.name} has rank {half['A'].shape[0]} in {path} of layer {layer}, "
                f"and its {CONFIG} says {rank}: copy it again."
            )
    parts = {
        (layer, path): (half["A"], half["B"] * _scale(config, f"{stack}.{layer}.{path}", half["A"].shape[0]))
        for (stack, layer, path), half in halves.items()
    }
    return stacks.pop(), parts


def refuse(config: Mapping[str, Any], name: str) -> None:
    """Raises ValueError where an option changes the answers in a way that Tradewind does not compute."""
    kind = config.get("peft_type")
    if kind != "LORA":
        raise ValueError(f"The adapter in {name} has peft_type {kind!r}: give a LORA, or {MERGE}.")
    for option, title in REFUSED.items():
        if config.get(option):
            remedy = "train a plain LoRA" if option in UNMERGED else MERGE
            raise ValueError(
                f"The adapter in {name} is {title} ({option}), which is not computed here: {remedy}."
            )
    init = config.get("init_lora_weights", True)
    if (
        not isinstance(init, str | bool | None)
        or (init.lower() if isinstance(init, str) else init) not in KEEPS_BASE
    ):
        raise ValueError(
            f"The adapter in {name} has init_lora_weights {init!r}, "
            "which changes the base model's weights too: save it with "
            "path_initial_model_for_weight_conversion, which makes it a LoRA of the base model as it was."
        )
    unknown = [key for key, value in config.items() if value and key not in HONOURED | HARMLESS]
    if unknown:
        raise ValueError(
            f"The adapter in {name} sets {', '.join(unknown)}, which Tradewind does not know: {MERGE}."
        )
    for option, pattern in (("r", "rank_pattern"), ("lora_alpha", "alpha_pattern")):
        given = config.get(pattern) or {}
        if not isinstance(given, dict) or not all(map(_is_expression, given)):
            raise ValueError(
                f"{CONFIG} of {name} gives {pattern} {given!r:.80}: give an object of numbers by regular expressions."
            )
        for place, value in (
            (option, config.get(option)),
            *((f"{pattern} of {key}", value) for key, value in given.items()),
        ):
            if not _is_number(value) or (option == "r" and value <= 0):
                raise ValueError(
                    f"{CONFIG} of {name} gives {place} {value!r}: give a number{' above 0' * (option == 'r')}."
                )
    for option in ("target_modules", "exclude_modules"):
        given = config.get(option) or []
        if not (_is_expression(given) if isinstance(given, str) else isinstance(given, list)):
            raise ValueError(
                f"{CONFIG} of {name} gives {option} {given!r:.80}: give a regular expression or a list."
            )


def _is_number(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float) and abs(value) < MAX_SETTING


def _is_expression(text: str) -> bool:
    try:
        regex.compile(text)
    except regex.error:
        return False
    return True


def _targeted(config: Mapping[str, Any], layer: int, path: str) -> bool:
    """Whether a config names a module that its file holds: PEFT overlooks what it does not."""
    targets, layers = config.get("target_modules"), config.get("layers_to_transform")
    if (excluded := config.get("exclude_modules")) and _names(excluded, path):
        return False
    if targets and targets != "all-linear" and not _names(targets, path):
        return False
    if isinstance(targets, str):
        return True
    return layers is None or layer in (layers if isinstance(layers, list) else [layers])


def _names(modules: str | Sequence[object], path: str) -> bool:
    """Whether a regular expression, or a list of the ends of names, names the module at a path."""
    if isinstance(modules, str):
        return regex.fullmatch(modules, path, timeout=PATIENCE) is not None
    return any(f".{path}".endswith(f".{module}") for module in modules)


def _files(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if missing := next((name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()), None):
        inside = " and ".join(sorted(path.parent.name for path in folder.glob(f"*/{CONFIG}")))
        remedy = f": give {inside} in it" * bool(inside)
        raise ValueError(
            f"{folder.name} is no adapter folder: {missing} is missing "
            f"(PEFT adapters with safetensors are read, pickles are not){remedy}."
        )
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        tensors = load_file(folder / WEIGHTS)
    except (SafetensorError, json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(
            f"The adapter in {folder.name} is truncated or damaged ({error}): copy it again."
        ) from None
    if not isinstance(config, dict):
        raise ValueError(f"{CONFIG} of {folder.name} is no JSON object: copy it again.")
    return config, tensors


def _no_part(name: str, folder: str) -> str:
    """Why a tensor cannot be used."""
    place = name.removeprefix("base_model.model.")
    return (
        f"The adapter in {folder} changes {place}, and only LoRA halves of "
        f"the matrices in decoder layers are read (no biases, embeddings, heads or whole modules): {MERGE}."
    )


def _scale(config: Mapping[str, Any], path: str, rank: int) -> float:
    """alpha / rank, or alpha / sqrt(rank) of rank-stabilised LoRA (arXiv:2312.03732); PEFT's patterns name
    modules with alphas of their own.
    """
    alpha = _of_pattern(config, "alpha_pattern", path, "lora_alpha")
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _of_pattern(config: Mapping[str, Any], pattern: str, path: str, default: str) -> float:
    """What a pattern of PEFT's gives the module at a path; the first that fits counts."""
    given = config.get(pattern) or {}
    fitting = (
        value for key, value in given.items() if regex.match(rf"(.*\.)?({key})$", path, timeout=PATIENCE)
    )
    value: float = next(fitting, config[default])
    return value


def write(folder: Path, stack: str, parts: Parts, base_model: str) -> None:
    """Writes a PEFT folder. alpha equals the rank of each module, so that b is stored as it is. Raises ValueError
    where PEFT would take its names for those of other matrices: beside fused experts it reads `gate_proj` as theirs.
    """
    if shared := next((path for _, path in parts if "expert" in path), None):
        raise ValueError(
            f"The adapter changes {shared}, and PEFT reads a folder that names it as a change of all experts: "
            "keep the folder that it came from."
        )
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    for (layer, path), (a, b) in parts.items():
        prefix = f"base_model.model.{stack}.{layer}.{path}"
        tensors |= {f"{prefix}.lora_A.weight": a.contiguous(), f"{prefix}.lora_B.weight": b.contiguous()}
    ranks = {f"{stack}.{layer}.{path}": a.shape[0] for (layer, path), (a, _) in parts.items()}
    rank = Counter(ranks.values()).most_common(1)[0][0]
    others = {path: other for path, other in ranks.items() if other != rank}
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_model,
        "r": rank,
        "lora_alpha": rank,
        "rank_pattern": others,
        "alpha_pattern": others,
        "target_modules": sorted({path.rpartition(".")[2] for _, path in parts}),
        "layers_to_transform": sorted({layer for layer, _ in parts}),
        "lora_dropout": 0.0,
        "bias": "none",
        "inference_mode": True,
    }
    save_file(tensors, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(config, indent=1) + "\n")
