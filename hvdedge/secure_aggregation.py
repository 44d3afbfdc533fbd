"""Secure aggregation: a coordinator learns the sum of what members send and nothing of what each sent.

    member u sends   x_u + mask(b_u) + sum over v > u of mask(s_uv) - sum over v < u of mask(s_uv)     mod 2^64

s_uv is a key that u and v alone know (Diffie-Hellman), so its mask cancels in the sum of both; b_u is u's own. The
secrets behind both are shared out beforehand so that a majority of the members can tell them. Of a member whose numbers
arrived the others then reveal b_u, of one that fell silent the secret of its s_uv; never both, which would bare x_u.
Numbers are whole, in steps of 2^-SCALE, so that the sum is exact whatever the masks were.

It holds against a coordinator that follows the protocol and is curious, together with curious members, as long as they
are less than half of all; a coordinator that is a member counts among them.

Source: Bonawitz et al. 2017, Practical secure aggregation for privacy-preserving machine learning (the variant for
honest but curious parties); the group is number 14 of Kivinen and Kojo 2003, RFC 3526.
"""

import hashlib
import hmac
import secrets
from collections.abc import Collection, Mapping

import numpy as np

from hvdedge import secret_shares

SCALE = 32  # bits behind the point
LARGEST = 2.0 ** (47 - SCALE)  # so that a sum of 2^16 numbers below it fits
LEAST_MEMBERS = 3  # of two, each knows the other's numbers from the sum; so many have to arrive
GENERATOR = 2
GROUP = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B"
    "302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB5A899FA5AE9F24117C4B1FE6"
    "49286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB9ED529077096966D"
    "670C354E4ABC9804F1746C08CA18217C32905E462E36CE3BE39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF695581718"
    "3995497CEA956AE515D2261898FA051015728E5A8AACAA68FFFFFFFFFFFFFFFF",
    16,
)
KEY_BYTES = 256
SECRET_BITS = 256
SHARES_BYTES = 2 * secret_shares.BYTES
SEALED_BYTES = SHARES_BYTES + 32


def threshold(members: int) -> int:
    """Return how many members must stay to the end: a majority."""
    return members // 2 + 1


def to_whole(values: np.ndarray) -> np.ndarray:
    """Return numbers in steps of 2^-SCALE, mod 2^64: uint64.

    Raises:
        OverflowError: where one is not finite or too large for a sum of 2^16 such numbers.
    """
    steps = np.round(np.asarray(values, np.float64) * 2**SCALE)
    if not (np.abs(steps) < LARGEST * 2**SCALE).all():
        raise OverflowError("what a client learnt is too large to add up, or not finite; lower train.learning_rate")
    return steps.astype(np.int64).view(np.uint64)


def from_whole(total: np.ndarray) -> np.ndarray:
    """Return the numbers, float64, that a sum of `to_whole` stands for."""
    return total.view(np.int64) / 2**SCALE


class Member:
    """One that has numbers to add, in one round.

    Attributes:
        public: what all others need of it: two keys of KEY_BYTES.
    """

    def __init__(self, number: int):
        """Begin a round as the member of this number, 0 or above."""
        self.number = number
        self._seal, self._pair, self._own = (secrets.randbits(SECRET_BITS) for _ in range(3))
        self.public = b"".join(pow(GENERATOR, secret, GROUP).to_bytes(KEY_BYTES) for secret in (self._seal, self._pair))

    def share_out(self, public: Mapping[int, bytes]) -> dict[int, bytes]:
        """Return for each other member its shares of this one's secrets, sealed so that it alone can read them.

        Args:
            public: of all members, this one among them, by number.
        """
        self._public = dict(public)
        places = [number + 1 for number in public]
        least = threshold(len(places))
        shares = zip(
            *(secret_shares.split(secret, least, places).values() for secret in (self._own, self._pair)), strict=True
        )
        told = {
            number: b"".join(share.to_bytes(secret_shares.BYTES) for share in two)
            for number, two in zip(public, shares, strict=True)
        }
        self._held = {self.number: told.pop(self.number)}
        return {number: _sealed(self._key(number), self.number, plain) for number, plain in told.items()}

    def masked(self, values: np.ndarray, sealed: Mapping[int, bytes]) -> np.ndarray:
        """Return what `to_whole` made, under masks.

        Args:
            sealed: what each other member sent to this one; only those that sent it share a mask with it.
        """
        self._held |= {number: _opened(self._key(number), number, packet) for number, packet in sealed.items()}
        total = values + _mask(_bytes(self._own), len(values))
        for number in sealed:
            total += _pair_mask(self._pair, self.number, number, self._public[number], len(values))
        return total

    def reveal(self, arrived: Collection[int]) -> dict[int, int]:
        """Return this member's share of a secret of each member: of b where its numbers arrived, else of its keys.

        It answers once: of both secrets a coordinator would have the numbers of one member.
        """
        size, held, self._held = secret_shares.BYTES, self._held, {}
        return {
            number: int.from_bytes(shares[:size] if number in arrived else shares[size:])
            for number, shares in held.items()
        }

    def _key(self, number: int) -> bytes:
        return _agreed(self._seal, self._public[number][:KEY_BYTES])


def unmasked(
    total: np.ndarray, public: Mapping[int, bytes], arrived: Collection[int], revealed: Mapping[int, Mapping[int, int]]
) -> np.ndarray:
    """Return the sum of the numbers that arrived, uint64, of the sum of them under masks.

    Args:
        public: of all members that shared out their secrets.
        arrived: whose masked numbers are in `total`.
        revealed: what those told that are still there.
    Raises:
        ValueError: where they are too few.
    """
    if len(revealed) < threshold(len(public)):
        raise ValueError(f"{len(revealed)} of {len(public)} members are left, and {threshold(len(public))} are needed")
    total = total.copy()
    for number in public:
        shares = {teller + 1: told[number] for teller, told in revealed.items()}
        secret = secret_shares.join(dict(list(shares.items())[: threshold(len(public))]))
        if number in arrived:
            total -= _mask(_bytes(secret), len(total))
        else:
            for other in arrived:  # takes away what each added for the one that is gone
                total += _pair_mask(secret, number, other, public[other], len(total))
    return total


def _pair_mask(secret: int, number: int, other: int, public: bytes, size: int) -> np.ndarray:
    """Return what member `number` adds for the key that it shares with another."""
    mask = _mask(_agreed(secret, public[KEY_BYTES:]), size)
    return mask if number < other else np.uint64(0) - mask


def _agreed(secret: int, public: bytes) -> bytes:
    return hashlib.sha256(pow(int.from_bytes(public), secret, GROUP).to_bytes(KEY_BYTES)).digest()


def _mask(key: bytes, size: int) -> np.ndarray:
    return np.frombuffer(hashlib.shake_256(key).digest(8 * size), "<u8").astype(np.uint64)


def _bytes(secret: int) -> bytes:
    return secret.to_bytes(secret_shares.BYTES)


def _sealed(key: bytes, sender: int, plain: bytes) -> bytes:
    """Return a packet that only who knows the key can read and make; a key seals one in each direction."""
    pad = hashlib.shake_256(key + b"seal" + sender.to_bytes(4)).digest(len(plain))
    packet = bytes(a ^ b for a, b in zip(plain, pad, strict=True))
    return packet + hmac.digest(key, sender.to_bytes(4) + packet, "sha256")


def _opened(key: bytes, sender: int, packet: bytes) -> bytes:
    if not hmac.compare_digest(
        packet[SHARES_BYTES:], hmac.digest(key, sender.to_bytes(4) + packet[:SHARES_BYTES], "sha256")
    ):
        raise ValueError(f"the shares of member {sender} were changed on their way")
    return _sealed(key, sender, packet[:SHARES_BYTES])[:SHARES_BYTES]
