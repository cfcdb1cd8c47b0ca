"""Captioned shapes: pictures, captions and their truth from rules alone: nothing has to be downloaded.

A picture has 32 x 32 pixels and one of three kinds of scene:

    one       a thing anywhere                     "a large red circle", "... in the upper left"
    two       two things of different colours,     "a large red circle left of a small blue ring"
              beside or above one another
    several   two to four equal things             "three small green crosses"

There are 6 shapes, 8 colours and 2 sizes: 96 captions of one thing without its place, 96 x 84 x 4 = 32,256
of two, 288 of several. Scene `number` of a split is a pure function of (seed, split, number). Five pairs of
colour and shape, no two of one colour or one shape, are in no picture but those of the split `composition`:
what is right about them was not learned by heart.

scene      what is in a picture, drawn from (seed, split, number); the pairs that are held out
drawing    a scene to pixels
questions  a scene to questions about it, their answers, and what leads to these
words      a scene to its caption and to every true statement; a statement to its truth
reading    pixels to the scene: the oracle, which judges drawn and generated pictures with no learned network

A statement is one of

    a NOUN [PLACE]              there is such a thing (there, for a thing that is alone)
    two|three|four NOUNs        there are just so many of them
    a NOUN RELATION a NOUN      of two things that have different colours, named with them

where NOUN is [small|large] [COLOUR] SHAPE. Position words are by the centre: less than 13 of 32 pixels is
left (upper), more than 18 right (lower), else in the middle. `left of` and the like hold where the centres
differ more in that direction than across it.
"""

from data_prep.contract.shapes.drawing import draw
from data_prep.contract.shapes.questions import asked
from data_prep.contract.shapes.reading import read
from data_prep.contract.shapes.scene import (
    COLOURS,
    COMPOSITION,
    SHAPES,
    SIZES,
    Scene,
    Thing,
    held_out_pairs,
    scene_of,
)
from data_prep.contract.shapes.words import Noun, caption, is_true, nouns_of, statements

__all__ = [
    "COLOURS",
    "COMPOSITION",
    "SHAPES",
    "SIZES",
    "Noun",
    "Scene",
    "Thing",
    "asked",
    "caption",
    "draw",
    "held_out_pairs",
    "is_true",
    "nouns_of",
    "read",
    "scene_of",
    "statements",
]
