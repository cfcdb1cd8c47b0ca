"""What the parts of each step looked at, by their counts: for the progress that people see."""

from data_prep.parts import Part
from data_prep.planning import total
from data_prep.progress import Amount


def read_size(part: Part) -> Amount:
    taken = part.counts["documents"]
    return Amount(taken + sum(part.counts["failures"].values()), part.counts["bytes"], taken)


def judged_size(part: Part) -> Amount:
    return Amount(part.counts["documents"], 0, part.counts["kept"]["documents"])


def kept_size(part: Part) -> Amount:
    both = total(part.counts["splits"].values())
    return Amount(both["documents"], both["bytes"])


def written_size(part: Part) -> Amount:
    return Amount(part.counts["shard"]["samples"], part.counts["shard"]["bytes"])
