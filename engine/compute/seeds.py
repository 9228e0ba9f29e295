"""Seeds from their parts. Knows nothing of what they decide."""


def mix(*parts: int | str) -> int:
    """A 63-bit seed from its parts: the same everywhere, unlike hash()."""
    value = 1469598103934665603
    for character in "|".join(str(part) for part in parts).encode():
        value = ((value ^ character) * 1099511628211) % 2**64
    return value >> 1
