"""Personal data in texts: e-mail addresses and public IPv4 addresses become placeholders."""

import ipaddress
import re

EMAIL, ADDRESS = "email@example.com", "192.0.2.1"
"""Placeholders that keep a text readable: both are reserved for documentation (RFC 2606, 5737)."""

_EMAIL = re.compile(
    r"(?<![\w.+%-])[A-Za-z0-9](?:[\w.+%-]{0,63})@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})\.)+[A-Za-z]{2,24}(?![\w-])"
)
_ADDRESS = re.compile(
    r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d]|\.\d)"
)


def replace(text: str) -> tuple[str, int]:
    """The text with placeholders, and how many there are. Private, loopback, reserved and documentation
    addresses stay: they name nobody."""
    count = 0

    def address(match: re.Match[str]) -> str:
        nonlocal count
        if not ipaddress.ip_address(_plain(match[0])).is_global:
            return match[0]
        count += 1
        return ADDRESS

    if "@" in text:
        text, count = _EMAIL.subn(EMAIL, text)
    return _ADDRESS.sub(address, text), count


def _plain(address: str) -> str:
    """Without leading zeros, which `ipaddress` refuses."""
    return ".".join(str(int(byte)) for byte in address.split("."))
