"""A hostile machine on a segment for test_mdns: answers, unasked, for as many nodes as its argument says, at once."""

from __future__ import annotations

import random
import socket
import struct
import sys

GROUP = ("224.0.0.251", 5353)
SERVICE = b"\x04_p2p\x04_udp\x05local\x00"
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
PER_PACKET = 8
PTR, TXT, INTERNET = 12, 16, 1
TTL_S = 3_000_000
KEY_PREFIX = bytes.fromhex("002408011220")
"""Of a peer id: a hash that is the content itself, which is an Ed25519 key."""


def peer_id(rng: random.Random) -> str:
    number, text = int.from_bytes(KEY_PREFIX + rng.randbytes(32)), ""
    while number:
        number, digit = divmod(number, 58)
        text = BASE58[digit] + text
    return "1" + text  # the leading zero byte


def record(name: bytes, kind: int, data: bytes) -> bytes:
    return name + struct.pack(">HHIH", kind, INTERNET, TTL_S, len(data)) + data


def answer(rng: random.Random) -> bytes:
    """One packet for several nodes, none of which exists."""
    answers, additional = b"", b""
    for _ in range(PER_PACKET):
        name = b"\x10" + rng.randbytes(8).hex().encode() + b"\x00"
        text = f"dnsaddr=/ip4/10.99.0.2/tcp/{rng.randrange(1, 65536)}/p2p/{peer_id(rng)}".encode()
        answers += record(SERVICE, PTR, name)
        additional += record(name, TXT, bytes([len(text)]) + text)
    return struct.pack(">HHHHHH", 0, 0x8400, 0, PER_PACKET, 0, PER_PACKET) + answers + additional


def main(count: int) -> None:
    rng = random.Random(1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as segment:
        segment.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("10.99.0.2"))
        for _ in range(0, count, PER_PACKET):
            segment.sendto(answer(rng), GROUP)


if __name__ == "__main__":
    main(int(sys.argv[1]))
