"""Which addresses may be asked: a post can name any, also those of this machine and its network."""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from memesearch.crawl.post import Refused

PORTS = (80, 443)
NAT64 = ip_network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet, also where it wraps an IPv4 address in IPv6."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, IPv6Address) and (inner := wrapped(ip)) is not None:
        return is_public(str(inner))
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


def wrapped(ip: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that packets to this one end at: mapped, 6to4, Teredo, NAT64 or 'compatible'."""
    if ip in NAT64 or int(ip) >> 32 == 0:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)


def check_address(text: str, trusted: frozenset[str]) -> URL:
    """Raises Refused for what is not a plain address of the public web, or of a trusted host.

    Names are looked at when they are resolved.
    """
    try:
        url = URL(text)
        host, port = url.host, url.port
    except ValueError as error:
        raise Refused(f"{text[:200]!r} is not an address: {error}") from error
    if url.scheme not in ("http", "https") or not host:
        raise Refused(f"{text[:200]!r} is not an address of the web")
    if url.user or url.password:
        raise Refused(f"{url.host}: addresses with a user's name are not asked")
    if host in trusted:
        return url
    if port not in PORTS:
        raise Refused(f"{host}: port {port} is not one of the web's")
    if looks_like_ip(host) and not is_public(host):
        raise Refused(f"{host} is not a public address")
    return url


def looks_like_ip(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


class PublicResolver(AbstractResolver):
    """Resolves names and refuses those that lead to other than public addresses.

    The addresses that were looked at are the ones connected to, so a name that changes meanwhile gains nothing.
    Forms such as `2130706433` or `0x7f.1` are names here, and end at the same check.
    """

    def __init__(self, trusted: frozenset[str]) -> None:
        self._trusted = trusted
        self._inner = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        for result in found:
            if host not in self._trusted and not is_public(result["host"]):
                raise Refused(f"{host} is not a public address")
        return found

    async def close(self) -> None:
        await self._inner.close()
