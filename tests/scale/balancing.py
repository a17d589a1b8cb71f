"""What nginx needs to balance the load of several servers; docs/operations.md shows the same lines."""

from collections.abc import Sequence


def upstream(name: str, addresses: Sequence[str]) -> str:
    """Return a group of servers, which nginx asks in turns."""
    servers = "\n".join(f"    server {address};" for address in addresses)
    return f"upstream {name} {{\n{servers}\n}}\n"


def location(name: str) -> str:
    """Return the paths that go to a group of servers: all of them."""
    return f"location / {{\n    proxy_pass http://{name};\n    proxy_set_header Host $http_host;\n}}\n"


def snippet() -> str:
    """Return the lines of docs/operations.md, as a fenced block."""
    return f"```nginx\n{upstream('dagcall', ['10.0.0.11:8000', '10.0.0.12:8000'])}\n{location('dagcall')}```\n"
