"""Programs in Python that know nothing of a proxy but what is in their
environment: `clients.py NAME HOST`. Each prints what it received."""

import sys


def with_requests(host):
    import requests

    return requests.get(f"https://{host}/json", timeout=20).text


def with_httpx(host):
    import httpx

    with httpx.Client() as client:
        answer = client.post(f"https://{host}/echo", content="hello")
    return answer.text


def with_urllib(host):
    """Its http.client connects with HTTP/1.0 and without Host."""
    from urllib.request import urlopen

    with urlopen(f"https://{host}/json", timeout=20) as answer:
        return answer.read().decode()


def with_websockets(host):
    from websockets.sync.client import connect

    received = []
    with connect(f"wss://{host}/socket") as socket:
        for text in ("one", "two"):
            socket.send(text)
            received.append(socket.recv())
    return " ".join(received)


def with_events(host):
    """Asks for each event but the first once it has the one before."""
    import httpx

    received = []
    with httpx.Client(timeout=20) as client:
        with client.stream("GET", f"https://{host}/events") as answer:
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    received.append(line[6:])
                    client.get(f"https://{host}/next")
    return " ".join(received)


name, host = sys.argv[1:]
sys.stdout.write(globals()[f"with_{name}"](host))
