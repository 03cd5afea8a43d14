"""Independent scores of a text, so that a steered text is never judged by the vector that steered it.

All return a number from 0 to 1, higher for more of the concept.
"""

import re
from collections.abc import Callable, Sequence
from functools import cache

WORD = re.compile(r"[A-Za-z']+")

TOPICS = {
    "sports": "athlete ball baseball basketball bat bowl boxing champion championship club coach competition cricket cup cycling defender "
    "fan fitness football game goal goalkeeper golf gym hockey injury kick league marathon match medal olympic penalty pitch play player "
    "race racket referee rugby run runner score season ski soccer sport sprint stadium swim swimmer tackle team tennis tournament training "
    "trophy victory volleyball win winner workout wrestling",
    "film": "acting actor actress animation audience award blockbuster box camera cast character cinema cinematography comedy costume "
    "credits critic dialogue director documentary drama edit editing ending festival film filmmaker footage genre hollywood horror lens "
    "movie oscar plot premiere producer role scene screen screenplay script sequel shot soundtrack story studio stunt thriller trailer",
    "children": "baby bedtime birthday boy child childhood children class classroom crayon cuddle cradle dad daughter doll family girl "
    "grandma homework kid kids kindergarten lullaby mom mum nap nursery parent parents pajamas play playground playtime puppet puzzle "
    "school schoolyard sibling son story storybook swing teacher teddy toddler toy toys",
    "science": "analysis astronomy atom bacteria biology cell chemical chemistry data discovery dna electron element energy enzyme "
    "equation evidence evolution experiment formula fossil galaxy gene genetic geology gravity hypothesis lab laboratory light "
    "mathematics matter measure microscope molecule neuron observation orbit particle physics planet protein quantum radiation reaction "
    "research researcher science scientific scientist species star study telescope temperature theory universe vaccine virus",
}
INFORMAL = frozenset(
    "ain't awesome bro btw bucks buddy cause chill cool cops crap cuz dude dunno folks gimme gonna gosh gotta guy guys haha hang hey hi "
    "huge idk info kid kids kinda lemme lol lots mom nah nope oh ok okay omg ouch pal pretty really stuff super sure sup sucks thanks thx "
    "tons totally u ugh umm wanna whatever wow ya yay yeah yep yo yup y'all".split()
)
FORMAL = frozenset(
    "accordance accordingly acknowledge additionally advise appropriate approximately assist assistance commence comprehensive concerning "
    "consequently consider considerable contribute correspondence demonstrate determine enclosed endeavor ensure essential establish "
    "facilitate further furthermore hence hereby however indicate inform inquire kindly likewise moreover nevertheless notwithstanding "
    "numerous obtain offer perceive permit please previously prior provide purchase pursuant recommend regarding reside respectfully "
    "respective request require shall significant sincerely subsequently substantial sufficient therefore thus upon utilize whereas "
    "whom wish".split()
)


def sentiment(text: str) -> float:
    """VADER's compound score mapped to 0..1. Sees words and negation; misses irony, and plots told in neutral
    words.
    """
    return (_vader().polarity_scores(text)["compound"] + 1) / 2


def toxicity(text: str) -> float:
    """Probability of profanity or insult by alt-profanity-check's linear model. Misses threats and contempt
    in clean words.
    """
    from profanity_check import predict_prob

    return float(predict_prob([text])[0])


def formality(text: str) -> float:
    """A lexical score of register: long and formal words against contractions, slang, exclamations and
    first-person chat.

    Tells register, not politeness; jargon counts as formal. 0.5 for an empty text.
    """
    words = [word.lower() for word in WORD.findall(text)]
    if not words:
        return 0.5
    long = sum(len(word) >= 8 for word in words) / len(words)
    formal = sum(word in FORMAL for word in words) / len(words)
    casual = sum(word in INFORMAL or ("'" in word and not word.endswith("'s")) for word in words) / len(words)
    loud = (text.count("!") + text.count("...")) / len(words)
    return min(1.0, max(0.0, 0.35 + 1.2 * long + 3 * formal - 3 * casual - 2 * loud))


def topic(name: str) -> Callable[[str], float]:
    """A scorer of a topic: the share of content words in its lexicon, 1 from one word in five on.

    Names in disguise, new words and the same word in another sense are beyond it.
    """
    lexicon = frozenset(TOPICS[name].split())

    def score(text: str) -> float:
        words = [word.lower() for word in WORD.findall(text) if len(word) > 3]
        hits = sum(
            word in lexicon or word.removesuffix("s") in lexicon or word.removesuffix("es") in lexicon
            for word in words
        )
        return min(1.0, 5 * hits / len(words)) if words else 0.0

    return score


@cache
def _vader():
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()


def scorer(name: str) -> Callable[[str], float]:
    """The scorer of a concept, as concepts.json names it ("sentiment", "topic:film"). Raises KeyError."""
    if name.startswith("topic:"):
        return topic(name.removeprefix("topic:"))
    return {"sentiment": sentiment, "toxicity": toxicity, "formality": formality}[name]


def scores(text: str, concepts: Sequence) -> dict[str, float]:
    """Independent scores of a text for those concepts that have a scorer."""
    return {concept.name: scorer(concept.scorer)(text) for concept in concepts if concept.scorer}
