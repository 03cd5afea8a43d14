"""Rewards as --reward names them."""


def helpful(prompt: str, answer: str) -> float:
    return float(len(answer))


def harmless(prompt: str, answer: str) -> float:
    return float(sum(letter in "aeiou" for letter in answer))


def brevity(prompt: str, answer: str) -> float:
    return -float(len(answer))


broken = 3
