"""What the parts of each step looked at, by their counts: for the progress that people see."""

from data_prep.parts import Part
from data_prep.planning import total
from data_prep.progress import Amount
from data_prep.tokenize.encode import SPLITS


def nothing(part: Part) -> Amount:
    """Of a part whose work is not measured in documents."""
    return Amount()


def collected_size(part: Part) -> Amount:
    read = part.counts["documents"]
    return Amount(read + sum(part.counts["failures"].values()), part.counts["bytes"], read)


def read_size(part: Part) -> Amount:
    return Amount(part.counts["documents"], part.counts["bytes"])


def judged_size(part: Part) -> Amount:
    taken = part.counts["taken"]
    return Amount(taken["documents"], taken["bytes"], part.counts["kept"]["documents"])


def decided_size(part: Part) -> Amount:
    kept, dropped = split_size(part), total(part.counts["dropped"].values())
    return Amount(kept.documents + dropped["documents"], kept.bytes + dropped["bytes"], kept.documents)


def split_size(part: Part) -> Amount:
    both = total(part.counts["splits"][name] for name in SPLITS)
    return Amount(both["documents"], both["bytes"])


def shard_size(part: Part) -> Amount:
    return Amount(part.counts["shard"]["documents"], part.counts["shard"]["text_bytes"])
