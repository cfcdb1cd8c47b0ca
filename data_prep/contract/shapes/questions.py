"""Questions about a scene with their answers, and the rationale that leads from what is seen to each.

    colour     "what colour is it?"                          "red"        of a lone thing
               "what colour is the ring?"                    "blue"       of two with different shapes
    shape      "what shape is it?"                           "circle"
               "what shape is the blue one?"                 "ring"       of two
    size       "what size is it?"                            "large"
    place      "where is it?"                                "at the left"
    relation   "where is the red one, seen from the blue?"   "left of it"
    count      "how many things are there?"                  "three"
    yes or no  "is there a red circle?"                      "yes", "no"  each as likely

What is asked of a lone thing is the same for every picture, so who does not see it knows nothing. A question
that is answered by no exchanges the colour, the shape or the direction. No question of another split than
`composition` has a pair of colour and shape that is held out, so that none is learned to be never there.
"""

from collections.abc import Iterator

from data_prep.contract.questions import Question
from data_prep.contract.shapes.scene import (
    COLOURS,
    COMPOSITION,
    RELATIONS,
    SHAPES,
    Draws,
    Scene,
    Thing,
    held_out_pairs,
)
from data_prep.contract.shapes.words import NUMBERS, caption, is_true, place_of, relation_of

YES_OR_NO = "yes or no"
ASKED_NO = ("colour", "shape")


def asked(scene: Scene, seed: int, split: str, number: int) -> list[Question]:
    """The questions about scene `number` of a split; which statements are asked for is drawn from these."""
    first, many = scene.things[0], len(scene.things)
    alike = many > 1 and first.colour == scene.things[1].colour
    draws = Draws(seed, f"{split}/questions", number, 0)
    if many == 1:
        found = [*_of_one(first)]
    elif alike:
        found = [*_of_many(scene)]
    else:
        found = [*_of_two(*scene.things)]
    told = f"there is {caption(scene)}." if not alike else f"there are {caption(scene)}."
    count = {1: "one", **NUMBERS}[many]
    found.append(Question("how many things are there?", count, "count", told))
    statement, truth = _statement(scene, draws, frozenset() if split == COMPOSITION else held_out_pairs(seed))
    return [*found, Question(f"is there {statement}?", truth, YES_OR_NO, f"{told} so {truth}.")]


def _of_one(thing: Thing) -> Iterator[Question]:
    told = f"there is a {thing.size} {thing.colour} {thing.shape} {place_of(thing)}."
    for about, answer in (("colour", thing.colour), ("shape", thing.shape), ("size", thing.size)):
        yield Question(f"what {about} is it?", answer, about, told)
    yield Question("where is it?", place_of(thing), "place", told)


def _of_many(scene: Scene) -> Iterator[Question]:
    first, told = scene.things[0], f"there are {caption(scene)}."
    for about, answer in (("colour", first.colour), ("shape", first.shape), ("size", first.size)):
        yield Question(f"what {about} are they?", answer, about, told)


def _of_two(one: Thing, other: Thing) -> Iterator[Question]:
    told = f"the {one.colour} {one.shape} is {relation_of(one, other)} the {other.colour} {other.shape}."
    for thing in (one, other):
        if one.shape != other.shape:
            yield Question(f"what colour is the {thing.shape}?", thing.colour, "colour", told)
        yield Question(f"what shape is the {thing.colour} one?", thing.shape, "shape", told)
        yield Question(f"what size is the {thing.colour} one?", thing.size, "size", told)
    asked_for = f"where is the {one.colour} one, seen from the {other.colour} one?"
    yield Question(asked_for, f"{relation_of(one, other)} it", "relation", told)


def _statement(scene: Scene, draws: Draws, unseen: frozenset[tuple[str, str]]) -> tuple[str, str]:
    """A statement, and `yes` or `no`, each as likely: what is no is the truth but for one word of it."""
    truth = ("no", "yes")[draws.below(2)]
    thing = scene.things[draws.below(len(scene.things))]
    words = {"colour": thing.colour, "shape": thing.shape}
    relation = relation_of(*scene.things) if len({one.colour for one in scene.things}) == 2 else ""
    if relation and draws.below(2):
        one, other = scene.things
        if truth == "no":
            relation = draws.one_of([name for name in RELATIONS if name != relation])
        return f"{_one(one.colour, one.shape)} {relation} {_one(other.colour, other.shape)}", truth
    which = ASKED_NO[draws.below(2)]
    choices = draws.shuffled([*(COLOURS if which == "colour" else SHAPES)])
    while True:
        statement = _one(**words)
        known = (words["colour"], words["shape"]) not in unseen
        if known and is_true(statement, scene) == (truth == "yes"):
            return statement, truth
        words[which] = choices.pop()


def _one(colour: str, shape: str) -> str:
    return f"{'an' if colour[0] in 'aeiou' else 'a'} {colour} {shape}"
