"""A secret in shares, of which any `threshold` tell it and fewer tell nothing: a polynomial's values in a prime field.

Source: Shamir 1979, How to share a secret.
"""

import secrets
from collections.abc import Mapping, Sequence

PRIME = 2**521 - 1
BYTES = 66  # of a share


def split(secret: int, threshold: int, places: Sequence[int]) -> dict[int, int]:
    """Return a share for each of `places`, numbers above 0.

    Args:
        secret: 0 to below PRIME.
        threshold: how many shares tell it, no more than there are places.
    """
    factors = [secret, *(secrets.randbelow(PRIME) for _ in range(threshold - 1))]
    return {
        place: sum(factor * pow(place, power, PRIME) for power, factor in enumerate(factors)) % PRIME
        for place in places
    }


def join(shares: Mapping[int, int]) -> int:
    """Return the secret that at least as many shares as its threshold tell, by place."""
    secret = 0
    for place, share in shares.items():
        above = below = 1
        for other in shares:
            if other != place:
                above = above * other % PRIME
                below = below * (other - place) % PRIME
        secret += share * above * pow(below, -1, PRIME)
    return secret % PRIME
