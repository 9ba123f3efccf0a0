"""A proxy that gives tunnels (CONNECT), or does something else instead; in a thread, with a ledger of what it was asked."""

import base64
import select
import socket
import threading


class Proxy:
    """TARGETS: "host:port" to a port of loopback. ANSWER: bytes instead of a tunnel; SILENT: nothing at all. USER: "name:password" it asks for."""

    def __init__(self, targets=None, answer=None, silent=False, user=None):
        self.targets, self.answer, self.silent, self.user = targets or {}, answer, silent, user
        self.asked, self.through = [], bytearray()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def stop(self):
        if self.listener.fileno() >= 0:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._run, args=(client,), daemon=True).start()

    def _run(self, client):
        try:
            self._serve(client)
        except OSError:     # a side was reset, or nobody listens at the target: the tunnel ends
            pass

    def _serve(self, client):
        with client:
            head = b""
            while b"\r\n\r\n" not in head:
                more = client.recv(4096)
                if not more:
                    return
                head += more
            self.asked.append(head.decode())
            if self.silent:
                while client.recv(4096):
                    pass
                return
            answer = self.answer or self._judge(head.decode())
            if answer:
                client.sendall(answer)
                client.shutdown(socket.SHUT_WR)
                client.recv(4096)
                return
            self._tunnel(client, self.targets[head.split()[1].decode()])

    def _judge(self, head):
        if self.user and f"Proxy-Authorization: Basic {base64.b64encode(self.user.encode()).decode()}\r\n" not in head:
            return b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"proxy\"\r\nContent-Length: 0\r\n\r\n"
        if head.split()[1] not in self.targets:
            return b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"
        return None

    def _tunnel(self, client, port):
        with socket.create_connection(("127.0.0.1", port)) as server:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            other = {client: server, server: client}
            while True:
                for ready in select.select([client, server], [], [], 30)[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    self.through += data
                    other[ready].sendall(data)
