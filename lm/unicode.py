"""Text without halves of surrogate pairs, which UTF-8 cannot encode."""


def well_formed(text: str) -> str:
    """The text with U+FFFD for every half of a surrogate pair, as a cut emoji leaves it; whole pairs become
    the character they stand for.
    """
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
