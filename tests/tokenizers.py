"""Small tokenizers of the kinds that models come with."""

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

SPECIAL = ("<unk>", "<s>", "</s>")
LETTERS = "▁abcdefghijklmnopqrstuvwxyzH.,!?'"


def byte_fallback(*, strips: bool = True) -> PreTrainedTokenizerFast:
    """As Llama 2's and Mistral's (strips: the space before the first word) or Gemma's: letters, and bytes for
    all else.
    """
    names = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *LETTERS, "▁hello"]
    merges = [("▁", "h"), ("▁h", "e"), ("▁he", "l"), ("▁hel", "l"), ("▁hell", "o")]
    names += ["▁h", "▁he", "▁hel", "▁hell"]
    vocabulary = {name: id for id, name in enumerate(names)}
    raw = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    raw.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)] if strips else steps)
    return _wrapped(raw)


def byte_level(*, adds: str = "") -> PreTrainedTokenizerFast:
    """As GPT-2's: single bytes. adds: what it puts around a text, as a template of <s>, $A and </s>."""
    vocabulary = {char: id for id, char in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = _wrapped(raw)
    if adds:
        special = [(name, raw.token_to_id(name)) for name in SPECIAL if name in adds]
        raw.post_processor = processors.TemplateProcessing(single=adds, special_tokens=special)
        tokenizer = _wrapped(raw)
    return tokenizer


def metaspace() -> PreTrainedTokenizerFast:
    """As a converted sentencepiece model's, whose first word loses its space."""
    vocabulary = {name: id for id, name in enumerate([*SPECIAL, *LETTERS])}
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    return _wrapped(raw)


def words() -> PreTrainedTokenizerFast:
    """Words and marks with spaces in between, some of which transformers takes out."""
    marks = (*SPECIAL, *LETTERS[1:], "n't", "'m", "'s", "'ve", "'re", "'v", "n'", "do", "ve", "re")
    raw = Tokenizer(
        models.WordLevel({name: id for id, name in enumerate(dict.fromkeys(marks))}, unk_token="<unk>")
    )
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return _wrapped(raw, clean_up_tokenization_spaces=True)


def _wrapped(raw: Tokenizer, **details: bool) -> PreTrainedTokenizerFast:
    raw.add_special_tokens(list(SPECIAL))
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="</s>",
        **details,
    )
