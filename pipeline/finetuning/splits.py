"""What is held out for validation where no file is: a seeded share of the rows.

Rows that say the same go to the same side, so that nothing is validated on what was trained on, and each
label has about the same share on either side.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence

from data_prep.contract.settings import InputError
from pipeline.tasks.rows import Row

Group = Callable[[Row], tuple[str, str]]
"""What a row says, and the label that should be on both sides."""


def hold_out(rows: Sequence[Row], share: float, seed: int, group: Group) -> tuple[list[int], list[int]]:
    """Numbers of the rows to train on and of those to validate on, each in order; both have some.

    `InputError` where all rows say the same.
    """
    by_label: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, row in enumerate(rows):
        says, label = group(row)
        by_label[label][hashlib.sha256(f"{seed}/{says}".encode()).hexdigest()].append(index)
    held: set[int] = set()
    for groups in by_label.values():
        wanted, taken = share * sum(len(one) for one in groups.values()), 0
        for _, members in sorted(groups.items()):
            if taken + len(members) / 2 > wanted:
                break
            held.update(members)
            taken += len(members)
    if not held:  # few rows of each label: one group of those that have several
        several = [groups for groups in by_label.values() if len(groups) > 1]
        held.update(min(several[0].items())[1] if several else ())
    same = {group(rows[index])[0] for index in held}
    held |= {index for index, row in enumerate(rows) if group(row)[0] in same}  # with another label, too
    if not held or len(held) == len(rows):
        raise InputError(
            f"{rows[0].where.rpartition(':')[0]}: {len(rows)} rows say the same, and none can be held out; "
            "name a file as `validation`"
        )
    return [i for i in range(len(rows)) if i not in held], sorted(held)
