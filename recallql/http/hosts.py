"""Loopback names and addresses."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Tells whether a host name or address, an IPv6 one in brackets or not, is a loopback one."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
