"""Whether a message has the shape of its typed definition, and whether two have the same shape."""

import types
from typing import Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict


def misfit(value: Any, hint: Any, at: str = "message") -> str:
    """Why a value, as JSON brings it, is not of a type; empty where it is."""
    if get_origin(hint) is NotRequired:
        hint = get_args(hint)[0]
    if hint is Any:
        return ""
    if is_typeddict(hint):
        return _object(value, hint, at)
    if isinstance(hint, type) and issubclass(hint, tuple) and hasattr(hint, "_fields"):
        kinds = get_type_hints(hint)
        if not isinstance(value, list) or len(value) != len(kinds):
            return f"{at} is no {hint.__name__}: {value!r:.80}"
        return next((said for each, (name, kind) in zip(value, kinds.items(), strict=True) if (said := misfit(each, kind, f"{at}.{name}"))), "")  # fmt: skip
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        whys = [misfit(value, each, at) for each in inner]
        return "" if "" in whys else " or ".join(whys)
    if origin is Literal:
        return "" if value in inner else f"{at} is {value!r}: not one of {inner}"
    if origin in (list, tuple):
        if not isinstance(value, list):
            return f"{at} is {value!r:.80}: no list"
        return next(
            (said for n, each in enumerate(value) if (said := misfit(each, inner[0], f"{at}[{n}]"))), ""
        )
    if origin is dict:
        if not isinstance(value, dict):
            return f"{at} is {value!r:.80}: no object"
        return next(
            (said for key, each in value.items() if (said := misfit(each, inner[1], f"{at}.{key}"))), ""
        )
    if hint is type(None):
        return "" if value is None else f"{at} is {value!r:.80}: not null"
    kinds = (int, float) if hint is float else (hint,)
    return "" if type(value) in kinds else f"{at} is {value!r:.80}: no {hint.__name__}"


def _object(value: Any, hint: Any, at: str) -> str:
    if not isinstance(value, dict):
        return f"{at} is {value!r:.80}: no {hint.__name__}"
    hints = get_type_hints(hint)
    if extra := value.keys() - hints.keys():
        return f"{at} has {sorted(extra)}, which {hint.__name__} has not"
    if lacking := hint.__required_keys__ - value.keys():
        return f"{at} lacks {sorted(lacking)} of {hint.__name__}"
    return next(
        (said for key, each in value.items() if (said := misfit(each, hints[key], f"{at}.{key}"))), ""
    )


def shape(value: Any) -> Any:
    """The names and kinds of a message, whatever its values: lists by their longest element, null for what is unknown."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in sorted(value.items())}
    if isinstance(value, list):
        shapes = [each for each in map(shape, value) if each is not None]
        return [max(shapes, key=lambda each: len(str(each)))] if shapes else None
    return None if value is None else "number" if type(value) in (int, float) else type(value).__name__


def same(one: Any, other: Any) -> bool:
    """Whether two shapes are one; null fits anything."""
    if one is None or other is None:
        return True
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return same(one[0], other[0])
    return one == other
