"""Random numbers that are a pure function of what they are for, computed for whole arrays at once.

A generator with a state cannot be asked for "the noise of sample 10^9" without drawing all that came before.
Here every number is a hash of its coordinates: the seed, the epoch, the sample, the position. The hash is
SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014): a Weyl
sequence through a 64-bit mixing function that passes BigCrush.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

WEYL = 0x9E3779B97F4A7C15
WORD = (1 << 64) - 1


def mix(values: Words) -> Words:
    """SplitMix64's finaliser: a bijection of 64-bit words that scatters them; done in place."""
    shifted = values >> np.uint64(30)
    values ^= shifted
    values *= np.uint64(0xBF58476D1CE4E5B9)
    np.right_shift(values, np.uint64(27), out=shifted)
    values ^= shifted
    values *= np.uint64(0x94D049BB133111EB)
    np.right_shift(values, np.uint64(31), out=shifted)
    values ^= shifted
    return values


def mix_int(value: int) -> int:
    """`mix` of a plain integer: ten times quicker than of an array of one."""
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & WORD
    value = (value ^ value >> 27) * 0x94D049BB133111EB & WORD
    return value ^ value >> 31


def key(*parts: int) -> int:
    """A 64-bit word that depends on every part and on their order."""
    state = 0
    for part in parts:
        state = mix_int((state + part) * 3 + WEYL & WORD)
    return state


def combine(*parts: int | NDArray[Any]) -> Words:
    """`key` for whole arrays: one word per element; integers and arrays broadcast."""
    state: int | Words = 0
    for part in parts:
        if isinstance(state, int) and isinstance(part, int):
            state = mix_int((state + part) * 3 + WEYL & WORD)
        else:
            state = mix((_word(state) + _word(part)) * np.uint64(3) + np.uint64(WEYL))
    return np.array([state], np.uint64) if isinstance(state, int) else state


def _word(part: int | NDArray[Any]) -> Any:
    return np.uint64(part & WORD) if isinstance(part, int) else part.astype(np.uint64)


def words(keys: Words, count: int, purpose: int = 0) -> Words:
    """`count` words for each of the B keys, [B, count]; another `purpose` gives unrelated ones."""
    start = combine(keys, purpose)
    return mix(start[:, None] + np.arange(count, dtype=np.uint64) * np.uint64(WEYL))


def words_at(keys: Words, places: NDArray[Any], purpose: int = 0) -> Words:
    """Of the words of each key the one at its place [n]: `words(keys, ...)[i, places[i]]`."""
    return mix(combine(keys, purpose) + places.astype(np.uint64) * np.uint64(WEYL))


def uniform(keys: Words, count: int, purpose: int = 0) -> NDArray[np.float64]:
    """`count` numbers in [0, 1) for each of the B keys, [B, count]."""
    return fractions(words(keys, count, purpose))


def fractions(drawn: Words) -> NDArray[np.float64]:
    """Words as numbers in [0, 1)."""
    return (drawn >> np.uint64(11)).astype(np.float64) * 2.0**-53


def halves(keys: Words, count: int, purpose: int = 0) -> NDArray[np.uint32]:
    """`count` 32-bit words for each of the B keys, [B, count]: half the work where 32 bits are enough."""
    return words(keys, (count + 1) // 2, purpose).view(np.uint32)[:, :count]
