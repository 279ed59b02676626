"""``python -m bob.offline COMMAND ...``: a ``bob`` command as on a machine without a network."""

import socket
from typing import Any, NoReturn


def refuse_network() -> None:
    """From here on no host has an address and nothing but this machine's own sockets (AF_UNIX) can be connected to."""
    connect = socket.socket.connect

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise OSError("there is no network here (bob.offline)")

    def only_here(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX:
            refuse()
        connect(self, address)

    socket.getaddrinfo = refuse
    socket.socket.connect = only_here  # type: ignore[assignment, method-assign]


if __name__ == "__main__":
    from bob.cli import main

    refuse_network()
    main()
