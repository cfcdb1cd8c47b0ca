"""Intervals of shares."""

import math

NORMAL_QUANTILE = 1.959964
"""What 95 % of a normal distribution lie within, in standard deviations."""


def wilson(right: float, total: int) -> tuple[float, float]:
    """The 95 % interval of a proportion (Wilson 1927), which stays within 0 and 1 for small counts."""
    if total == 0:
        return 0.0, 1.0
    z, share = NORMAL_QUANTILE, right / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    reach = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return max(0.0, middle - reach), min(1.0, middle + reach)
