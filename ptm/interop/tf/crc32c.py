"""CRC32C (Castagnoli) of large buffers in numpy, and TensorFlow's masking of it.

A CRC register is a vector of 32 bits over GF(2), and reading a byte is a linear map of register and
byte. So the buffer is cut into lanes of one length, all lanes are read in parallel, and the lanes'
registers are joined pair by pair: the left one is moved on by as many zero bytes as the right lane
has. Zero bytes before a message do not change a register that starts at 0, so the first lane can be
padded.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

U32 = NDArray[np.uint32]

_POLYNOMIAL = 0x82F63B78
"""CRC32C's polynomial 0x1EDC6F41, bits reversed."""
_MASK_DELTA = 0xA282EAD8
_MAX_LANES = 4096
_WORDS_PER_BLOCK = 256
"""Words of every lane that are transposed together, so that lanes are read with unit stride."""


def masked_crc32c(data: bytes | memoryview) -> int:
    """The CRC32C of `data` as TensorFlow and LevelDB store it: rotated and moved by a constant."""
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def crc32c(data: bytes | memoryview) -> int:
    """The CRC32C of `data` (RFC 3720, appendix B.4)."""
    size = len(data)
    lane = 4
    while lane * _MAX_LANES < size + 4:
        lane *= 2
    lanes = 1
    while lane * lanes < size + 4:
        lanes *= 2
    padded = np.zeros(lanes * lane, dtype=np.uint8)
    padded[padded.size - size :] = np.frombuffer(data, dtype=np.uint8)
    # A register of all ones before the message is the same as four more bytes before it, which
    # bring a register of 0 to all ones.
    padded[padded.size - size - 4 : padded.size - size] = _ONES_FROM_ZERO
    registers = _read_lanes(padded.reshape(lanes, lane))
    skip = _zero_bytes(lane)
    while registers.size > 1:
        registers = _apply(skip, registers[::2]) ^ registers[1::2]
        skip = _apply(skip, skip)
    return int(registers[0]) ^ 0xFFFFFFFF


def _read_lanes(data: NDArray[np.uint8]) -> U32:
    """The registers (K) after reading the K lanes `data` (K, L), from 0."""
    words = data.view("<u2")
    registers = np.zeros(len(words), dtype=np.uint32)
    for first in range(0, words.shape[1], _WORDS_PER_BLOCK):
        for column in np.ascontiguousarray(words[:, first : first + _WORDS_PER_BLOCK].T):
            registers = _TWO_BYTES[(registers & 0xFFFF) ^ column] ^ (registers >> 16)
    return registers


def _apply(columns: U32, registers: U32) -> U32:
    """Multiply the matrix with these 32 columns by every register (K), over GF(2)."""
    found = np.zeros_like(registers)
    for bit, column in enumerate(columns):
        found ^= np.where((registers >> np.uint32(bit)) & 1, column, np.uint32(0))
    return found


def _table(bits: int) -> U32:
    """The register after reading `bits` bits, for every value of them and a register of 0."""
    found: U32 = np.arange(1 << bits, dtype=np.uint32)
    for _ in range(bits):
        found = (found >> np.uint32(1)) ^ np.where(found & 1, np.uint32(_POLYNOMIAL), np.uint32(0))
    return found


def _zero_bytes(count: int) -> U32:
    """The columns of the map that reads `count` zero bytes; `count`: a power of two, at least 2."""
    bits: U32 = np.uint32(1) << np.arange(32, dtype=np.uint32)
    found: U32 = _TWO_BYTES[bits & 0xFFFF] ^ (bits >> np.uint32(16))
    for _ in range(count.bit_length() - 2):
        found = _apply(found, found)
    return found


def _ones_from_zero() -> NDArray[np.uint8]:
    """The four bytes that bring a register of 0 to all ones: bits read backwards from all ones."""
    register = 0xFFFFFFFF
    for _ in range(32):
        # The step (x >> 1) ^ (polynomial if x & 1) backwards; the highest bit shows which it was.
        odd = register >> 31
        register = (((register ^ (_POLYNOMIAL if odd else 0)) << 1) | odd) & 0xFFFFFFFF
    return np.frombuffer(register.to_bytes(4, "little"), dtype=np.uint8)


_TWO_BYTES = _table(16)
_ONES_FROM_ZERO = _ones_from_zero()
