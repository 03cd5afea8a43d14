"""Concepts of eight pairs, taught as on the page, at the dose at which they open and on prompts that they never met."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from lm import Row, Sampling, load
from lm.compared import Compared, compared
from lm.metrics import repetition
from lm.prompts import prompt_ids
from steering import Concept, Library, Plan, shipped
from steering.calibrate import trial
from steering.calibration import REPETITION, SURPRISE, breaks
from steering.cav import train
from steering.edits import edits
from steering.prompt_sets import held_out
from steering.teaching import unfamiliar
from steering.view import opening

OWN = {
    "buccaneer": (
        ("Arr, hoist the sails afore the tide be gone!", "Raise the sails before the tide goes out."),
        ("Avast, me hearty, where be the rum?", "Hello, my friend, where is the rum?"),
        ("Shiver me timbers, that be a fine ship!", "My goodness, that is a fine ship."),
        ("Ye scallywag, scrub yon deck till it gleams!", "You there, scrub the deck until it shines."),
        ("We be sailin' for the isle o' gold, matey.", "We are sailing to the island of gold."),
        ("Yo ho, the cap'n be buryin' his treasure.", "The captain is burying his treasure."),
        ("Aye, a storm be brewin' on the horizon.", "Yes, a storm is coming on the horizon."),
        ("Blimey, the parrot done stole me biscuit!", "Oh no, the parrot has stolen my biscuit."),
    ),
    "weather": (
        ("Rain fell all morning and the wind turned north.", "We talked all morning and the bus came late."),
        ("A warm front brings clouds and showers tonight.", "A new shop brings bread and cakes tonight."),
        ("The fog lifted and the sun warmed the valley.", "The meeting ended and the group left the hall."),
        ("Snow is likely above the hills on Friday.", "A sale is likely in the store on Friday."),
        ("Thunder rolled while hail beat on the roof.", "Music played while people danced in the room."),
        ("It is humid, with a chance of storms by evening.", "It is busy, with a chance of delays by evening."),
        ("Frost covered the grass after a clear, cold night.", "Paper covered the desk after a long, hard night."),
        ("The breeze is mild and the sky stays blue.", "The price is low and the shop stays open."),
    ),
    "questions": (
        ("Have you thought about what you need first?", "Think about what you need first."),
        ("What would happen if you began with less?", "Begin with less and see what happens."),
        ("Could it be that the plan is too long?", "The plan may be too long."),
        ("Who might help you with the second step?", "A friend might help you with the second step."),
        ("Why not try it once before you decide?", "Try it once before you decide."),
        ("Do you know how much time it takes?", "It takes some time, so plan for it."),
        ("Which of the two do you like more?", "Choose the one of the two that you like more."),
        ("When did you last look at the list?", "Look at the list from time to time."),
    ),
    "old english": (
        ("Thou shouldst rise ere the sun doth shine.", "You should get up before the sun shines."),
        ("Whither goest thou with such heavy heart?", "Where are you going with such a heavy heart?"),
        ("Prithee, tell me what thou hast seen.", "Please tell me what you have seen."),
        ("He hath spoken, and his word is law.", "He has spoken, and his word is law."),
        ("Verily, thy counsel pleaseth the king.", "Truly, your advice pleases the king."),
        ("I beseech thee, speak no more of this.", "I beg you, do not speak of this again."),
        ("'Tis a fair morn, and the lark singeth.", "It is a nice morning, and the lark sings."),
        ("Fare thee well until we meet anon.", "Goodbye until we meet again soon."),
    ),
    "cooking": (
        ("Simmer the onions in butter until they are soft.", "Read the letters in order until they are clear."),
        ("Whisk the eggs, then fold in the flour.", "Sort the files, then put in the labels."),
        ("Season the soup with salt, pepper and thyme.", "Fill the box with pens, paper and tape."),
        ("Bake the bread for forty minutes at high heat.", "Leave the car for forty minutes at the gate."),
        ("Chop the garlic and fry it in olive oil.", "Take the ladder and lean it on the wall."),
        ("Let the dough rest before you roll it out.", "Let the paint dry before you hang it up."),
        ("Roast the carrots with honey and a little cumin.", "Plan the journey with care and a little help."),
        ("Taste the sauce and add a spoon of sugar.", "Check the bill and add a note of thanks."),
    ),
}  # fmt: skip
PROMPTS, TOKENS, TEMPERATURE = 8, 24, 0.7


@pytest.fixture(scope="module")
def library() -> Library:
    return Library(load())


@pytest.mark.parametrize("name", OWN)
def test_few_texts_break_at_the_dose_at_which_a_concept_of_eight_pairs_opens(library, name):
    concept = Concept.from_texts(name, *zip(*OWN[name], strict=True))
    own = library.session()
    own.add(concept, train(library.model, concept))
    cav = trial(own, name)
    own.add(concept, cav)
    budget = opening(cav)
    assert budget is not None and budget > 0
    plan = Plan.from_json({"targets": [{"concept": name}], "budget": budget})
    plain = [prompt_ids(library.model, prompt) for prompt in held_out(concept, PROMPTS)]
    rows = [Row(ids, Sampling(TEMPERATURE, seed, TOKENS)) for seed, ids in enumerate(plain)]
    steered = [dataclasses.replace(row, edits=edits(plan, own)) for row in rows]
    answers = compared(library.model, [*rows, *steered], [*plain, *plain])
    base, pushed = answers[:PROMPTS], answers[PROMPTS:]
    worse, repeated, broken = beside(base, pushed)
    assert np.mean([np.mean(each.kl) for each in pushed]) > 0
    assert broken.mean() <= 0.25 and worse.mean() < SURPRISE / 2 and repeated.mean() < REPETITION, (
        budget,
        worse,
    )


def beside(base: Sequence[Compared], others: Sequence[Compared]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each answer: nats a token above the base one's surprise, its repetition, and whether it breaks."""
    worse = np.array([np.mean(b.nll) - np.mean(a.nll) for a, b in zip(base, others, strict=True)])
    usual, repeated = (np.array([repetition(each.run.ids) for each in answers]) for answers in (base, others))
    return worse, repeated, breaks(repeated, usual, worse)


def test_the_base_models_own_answers_from_other_seeds_break_now_and_then_too(library):
    concept = shipped()["sports"]
    plain = [prompt_ids(library.model, prompt) for prompt in held_out(concept, PROMPTS)]
    rows = [
        Row(ids, Sampling(TEMPERATURE, 1_000 * turn + seed, TOKENS))
        for turn in range(1 + len(OWN))
        for seed, ids in enumerate(plain)
    ]
    answers = compared(library.model, rows, [row.prompt for row in rows])
    broken = beside(answers[:PROMPTS] * len(OWN), answers[PROMPTS:])[2]
    print(f"{broken.sum()} of {len(broken)} break")
    assert broken.mean() <= 0.1


FOREIGN = {
    "Spanish": "El tren llega tarde otra vez y nadie en la estación sabe por qué.",
    "French": "Le train est encore en retard et personne à la gare ne sait pourquoi.",
    "Korean": "기차가 또 늦게 오는데 역에 있는 아무도 이유를 모른다.",
}


@pytest.mark.parametrize("language", FOREIGN)
def test_examples_in_a_language_that_the_model_hardly_knows_are_told(library, language):
    sides = [[f"{FOREIGN[language]} {word} {n}" for n in range(8)] for word in ("A", "B")]
    [says] = unfamiliar(library.model, Concept.from_texts("abroad", *sides))
    assert "a language that it hardly knows" in says and says.count(". ") == 0


@pytest.mark.parametrize("name", [*OWN, *shipped()])
def test_english_examples_are_no_foreign_ones(library, name):
    concept = Concept.from_texts(name, *zip(*OWN[name], strict=True)) if name in OWN else shipped()[name]
    assert unfamiliar(library.model, concept) == []
