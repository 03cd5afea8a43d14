"""What transformers reads of a model's folder: config, tokenizer, weights, or one sentence on why it cannot."""

import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from common.jsons import JsonObject
from lm import folder as files
from lm.devices import gpu_here, placement
from lm.formats import CAUSAL
from lm.sources import SourceError, reason

if TYPE_CHECKING:
    from transformers import (
        PreTrainedConfig,
        PreTrainedModel,
        PreTrainedTokenizerBase,
        PreTrainedTokenizerFast,
    )
    from transformers.models.auto.auto_factory import _BaseAutoModelClass

logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
"""It warns of each product of a model at 8 bits that its input is rounded."""
BUILDING = threading.Lock()
"""Held while transformers builds a model: it swaps functions of torch and of its own for that time."""


def plain_config(name: str | Path) -> "PreTrainedConfig":
    """The config of a folder or hub id, whatever it says of the type of its numbers, such as "auto": the weights'
    files tell that. Raises what transformers raises.
    """
    from transformers import AutoConfig

    config: PreTrainedConfig = AutoConfig.from_pretrained(
        name, trust_remote_code=False, return_dict=True, dtype=torch.float32
    )
    config.dtype = None
    return config


def read_config(label: str, folder: Path) -> "PreTrainedConfig":
    """The config as transformers reads it. Raises SourceError where it, or the model that it is of, is
    unknown here, or needs a package that is missing.
    """
    try:
        config = plain_config(folder)
    except Exception as error:  # any error: a config may hold anything
        raise SourceError(
            f"config.json of {label} is none that transformers knows ({reason(error)}), "
            "and code of a model's own is never run: give another model."
        ) from error
    _model_class(label, config)
    _check_quantised(label, config)
    _check_rope(label, config)
    config._attn_implementation = None  # whichever is here: the one that it was saved with may not be
    config.get_text_config(decoder=True).return_dict = True
    return config


def _model_class(label: str, config: "PreTrainedConfig") -> "type[_BaseAutoModelClass]":
    """The class of transformers that loads a config's model: with its image tower where it has one."""
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoModelForMaskedLM

    why = "writes no text"
    if config.is_encoder_decoder:
        why = "takes its prompt in an encoder"
    elif type(config) in AutoModelForMaskedLM._model_mapping and not getattr(config, "is_decoder", True):
        why = "reads a text from both ends and writes none"
    else:
        for kind in (AutoModelForCausalLM, AutoModelForImageTextToText):
            if type(config) in kind._model_mapping:
                return kind
    raise SourceError(f"{label} is a {config.model_type} model, which {why}: {CAUSAL}.")


def _check_quantised(label: str, config: "PreTrainedConfig") -> None:
    stored = getattr(config, "quantization_config", None)
    if stored is None:
        return
    from transformers.quantizers.auto import AutoHfQuantizer

    method = stored.get("quant_method") if isinstance(stored, dict) else stored.quant_method
    try:
        if not AutoHfQuantizer.supports_quant_method(stored):
            raise ValueError(f"transformers knows no {method}")
        AutoHfQuantizer.from_config(stored, pre_quantized=True).validate_environment(
            device_map=placement(gpu_here())
        )
    except Exception as error:  # any error: each method asks for packages and devices in its own way
        raise SourceError(
            f"{label} is stored quantised ({method}), which cannot be read here ({reason(error)}): "
            "install what is missing, or give the model in 16 bits."
        ) from error


def check_blocks(label: str, values: JsonObject, weights: list[Path]) -> None:
    """Raises SourceError where a matrix of 8-bit floats ends within a block of them: without a GPU transformers takes
    all blocks of a matrix for equally large. values: of config.json.
    """
    block = (values.get("quantization_config") or {}).get("weight_block_size")
    if not block or gpu_here() is not None:
        return
    shapes = {name: entry["shape"] for path in weights for name, entry in files.header(path).items()}
    for name, shape in shapes.items():
        sides = zip(shape, shapes.get(f"{name}_scale_inv", ()), block, strict=False)
        if any(size % side and count == size // side + 1 > 1 for size, count, side in sides):
            raise SourceError(
                f"{label} is stored quantised in blocks of {block[0]} x {block[1]}, and {name} of {shape[0]} x {shape[1]} "
                "ends within one, which transformers reads wrongly without a GPU: give the model in 16 bits."
            )


def check_head(label: str, config: "PreTrainedConfig", weights: list[Path]) -> None:
    """Raises SourceError where the files hold a family's layers without the head that writes, as those of models that
    embed sentences do.
    """
    kinds = config.architectures or []
    bare = bool(kinds) and all(kind.endswith("Model") and "Head" not in kind for kind in kinds)
    if not bare or config.get_text_config(decoder=True).tie_word_embeddings:
        return
    if not any(part in name for name, *_ in files.tensors(weights) for part in ("head", "embed_out")):
        raise SourceError(f"{label} holds a {kinds[0]}, which has no head to write text with: {CAUSAL}.")


def _check_rope(label: str, config: "PreTrainedConfig") -> None:
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    rope = getattr(config.get_text_config(decoder=True), "rope_parameters", None) or {}
    kind = rope.get("rope_type", "default")
    if kind not in ("default", *ROPE_INIT_FUNCTIONS):
        raise SourceError(
            f"config.json of {label} has rope type {kind!r}, and transformers knows default, "
            f"{', '.join(ROPE_INIT_FUNCTIONS)}: mend config.json, or give another model."
        )


def read_tokenizer(label: str, folder: Path, config: "PreTrainedConfig") -> "PreTrainedTokenizerFast":
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, config=config, trust_remote_code=False)
    except Exception as error:  # any error: files of many formats
        alone = None if (folder / "tokenizer.json").exists() else next(folder.glob("*.model"), None)
        raise SourceError(
            f"{label} has no tokenizer that can be read ({reason(error)}): fetch the model again."
            if alone is None
            else f"{label} has its tokenizer in {alone.name} alone, which cannot be read here: install sentencepiece, or "
            "tiktoken where it is a list of words, or give the model with a tokenizer.json."
        ) from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise SourceError(
            f"{label} has a tokenizer of type {type(tokenizer).__name__}, "
            "which has no tokenizer.json: save it again with a current transformers."
        )
    if is_empty(tokenizer):
        raise SourceError(f"{label} has no tokenizer, or one without words: fetch the model again.")
    beside = folder / "chat_template.json"  # of a processor, for a model with an image tower
    given = tokenizer.chat_template
    if given is None and beside.exists():
        given = files.read_json(beside).get("chat_template")
    tokenizer.chat_template = _templates(label, given)
    return tokenizer


def _templates(label: str, given: Any) -> Any:
    """Chat templates as a tokenizer has them, a text or texts by name; a file may list them. Raises SourceError."""
    try:
        named = {each["name"]: each["template"] for each in given} if isinstance(given, list) else given
    except (TypeError, KeyError):
        named = given
    texts = named.values() if isinstance(named, dict) else [named]
    if not all(isinstance(text, str | None) for text in texts):
        raise SourceError(
            f"The chat template of {label} is {str(given)[:80]}: give a text, or a list of name and template."
        )
    return named


def is_empty(tokenizer: "PreTrainedTokenizerBase") -> bool:
    """Whether a tokenizer knows no words: transformers makes such a one where the files are missing."""
    return {*tokenizer.get_vocab().values()} <= {*tokenizer.all_special_ids}


def read_model(
    label: str,
    folder: Path,
    config: "PreTrainedConfig",
    dtype: torch.dtype,
    device_map: str | dict[str, torch.device] | None,
) -> "PreTrainedModel":
    """The transformers model. Raises SourceError where its weights are not all in the files."""
    both: Any
    try:
        with BUILDING:
            both = _model_class(label, config).from_pretrained(
                folder,
                config=config,
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # they are told below
                trust_remote_code=False,
                output_loading_info=True,
                dtype=dtype,
                device_map=device_map,
            )
    except Exception as error:  # any error: files that do not fit their config
        raise SourceError(
            f"{label} could not be loaded ({reason(error)}): fetch the model again, or give another one."
        ) from error
    model, report = both
    if unlike := sorted(report["mismatched_keys"]):
        name, stored, wanted = unlike[0]
        raise SourceError(
            f"The weight files of {label} hold {name} as {[*stored]}, "
            f"not {[*wanted]}: fetch the model again, or mend config.json."
        )
    if missing := sorted(report["missing_keys"]):
        raise SourceError(
            f"The weight files of {label} lack "
            f"{missing[0]}{f' and {len(missing) - 1} more' * (len(missing) > 1)}, "
            "which its config asks for: fetch the model again, or mend config.json."
        )
    return frozen(model)


def frozen(model: "PreTrainedModel") -> "PreTrainedModel":
    model.eval().requires_grad_(False)
    return model


def stop_ids_of(folder: Path, tokenizer: "PreTrainedTokenizerFast") -> frozenset[int]:
    """Tokens that end an answer, of everything in the folder that names some."""
    ids: set[int | None] = set()
    for path in (folder / "generation_config.json", folder / "config.json"):
        value = files.read_json(path).get("eos_token_id") if path.exists() else None
        named_here = value if isinstance(value, list) else [value]
        if unlike := [id for id in named_here if id is not None and type(id) is not int]:
            raise SourceError(
                f"{path} has eos_token_id {unlike[0]!r}: give the number of a token, or a list of them."
            )
        ids |= {*named_here}
    named = ("<|im_end|>", "<end_of_turn>", "<|eot_id|>")
    ids |= {tokenizer.eos_token_id, *map(tokenizer.backend_tokenizer.token_to_id, named)}
    return frozenset(id for id in ids if id is not None)
