"""Outgoing: what a party hands to the network, encoded bytes and what the ledger will say about them."""

from typing import NamedTuple

from isal.isal_zlib import crc32


class Outgoing(NamedTuple):
    """One payload on its way out.

    Parameters
    ----------
    kind : str
        ``"smashed data"``, ``"gradient"``, ``"client model"``, ``"codec update"`` or ``"control"``.
    payload : bytes
        What really crosses the network; its length is the message's size before framing.
    raw_bytes : int
        What the same tensors take uncompressed (float32); labels are not in it.
    elements : int
        Numbers in the tensors.
    codec : str
        Name of the codec that made the payload.
    estimated_bits : float
        What the codec's own formula says the tensors cost, without frame.
    label_bytes : int
        Bytes of the payload that are labels.
    round, epoch, minibatch : int
        What it belongs to; 0 where there is no such thing.
    size : int
        Bytes of the message where they are not those of `payload`: of one whose content nobody needs (a recorded
        run, a benchmark; `payload` is empty then), or of one that is sized as published code does.
    slot : str
        The codec slot that it went through, or whose weights it carries; empty for client models.
    likelihood_bits : float
        What published code of learned codecs reports instead of bytes: the likelihood under the codec in
        training, with noise for rounding. `estimated_bits` for other codecs.
    crc32 : int
        Checksum of the content that nobody needs.
    work : int
        In a run that is recorded: the number of the work that made it.
    """

    kind: str
    payload: bytes
    raw_bytes: int = 0
    elements: int = 0
    codec: str = ""
    estimated_bits: float = 0.0
    label_bytes: int = 0
    round: int = 0
    epoch: int = 0
    minibatch: int = 0
    size: int = 0
    slot: str = ""
    likelihood_bits: float = 0.0
    crc32: int = 0
    work: int = -1

    @property
    def num_bytes(self) -> int:
        """Bytes that cross the network, before framing."""
        return self.size or len(self.payload)

    @property
    def payload_crc32(self) -> int:
        """Checksum of the content, known or not."""
        return crc32(self.payload) if self.payload else self.crc32
