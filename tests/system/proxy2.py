"""Headers of the PROXY protocol, version 2, and TLS behind them."""

import ipaddress
import struct

from wire import Connection, client_context

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"


def header(source, port=40000, tlvs=b""):
    """What a proxy says that connects for a TCP client at SOURCE."""
    address = ipaddress.ip_address(source)
    other = b"\0" * len(address.packed)
    body = address.packed + other + struct.pack(">HH", port, 443) + tlvs
    return SIGNATURE + struct.pack(">BBH", 0x21, 0x11 if address.version == 4 else 0x21, len(body)) + body


def connect(port, prefix, tls=False, context=None, host="127.0.0.1"):
    """A connection that has said PREFIX, and shaken hands where TLS."""
    connection = Connection(port, host=host)
    connection.send(prefix)
    if tls:
        connection.socket = (context or client_context()).wrap_socket(connection.socket, server_hostname="gate.example")
    return connection
