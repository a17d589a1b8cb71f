"""Which certificates dagcall trusts."""

import ssl
from pathlib import Path

from truststore import SSLContext

from dagcall.errors import ConfigError


def trusting(ca_file: Path | None, setting: str) -> ssl.SSLContext:
    """Return a context that trusts the authorities in a file, or those that this system trusts.

    Raises:
        ConfigError: the file cannot be used.
    """
    if ca_file is None:
        return SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{setting}: {ca_file} cannot be used: {error}") from error
