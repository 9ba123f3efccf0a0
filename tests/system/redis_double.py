"""A Redis between the gateway and a real one, that refuses or answers as managed kinds and ill ones do."""

import socket
import threading


def read_command(file):
    """One command as a list of bytes; None at the end."""
    line = file.readline()
    if not line.startswith(b"*"):
        return None
    words = []
    for _ in range(int(line[1:])):
        size = int(file.readline()[1:])
        words.append(file.read(size + 2)[:-2])
    return words


def read_reply(file):
    """One reply's bytes, whole."""
    line = file.readline()
    if not line:
        raise OSError("the real one has closed")
    if line[:1] == b"$" and int(line[1:]) >= 0:
        return line + file.read(int(line[1:]) + 2)
    if line[:1] == b"*":
        return line + b"".join(read_reply(file) for _ in range(int(line[1:])))
    return line


class RedisDouble:
    """Relays commands to a real server, but for those in `answers` (command name in capitals: raw reply), or to whose words
    `refuse` has a raw reply."""

    def __init__(self, port):
        self.real, self.answers, self.seen, self.open = port, {}, [], []
        self.refuse = lambda words: None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.open.append(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        try:
            with client, client.makefile("rb") as commands, socket.create_connection(("127.0.0.1", self.real)) as real, \
                    real.makefile("rb") as replies:
                while (words := read_command(commands)) is not None:
                    name = words[0].upper().decode()
                    self.seen.append(words)
                    answer = self.answers.get(name) or self.refuse(words)
                    if answer:
                        client.sendall(answer)
                        continue
                    real.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
                    client.sendall(read_reply(replies))
        except OSError:
            pass

    def names(self):
        return {words[0].upper().decode() for words in self.seen}

    def cut(self):
        """End every connection, as a managed kind does with idle ones."""
        for client in self.open:
            try:
                client.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.open.clear()

    def close(self):
        self.listener.close()
        self.cut()
