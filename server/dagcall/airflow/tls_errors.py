"""Why a server's certificate was refused, and what to do about it.

Pure. The codes are OpenSSL's (`X509_V_ERR_…`); truststore uses them on every system.
"""

import ssl
from collections.abc import Iterator

NOT_YET_VALID, EXPIRED, HOST_MISMATCH, ADDRESS_MISMATCH = 9, 10, 62, 64


def tls_problem(error: BaseException, table: str) -> str | None:
    """Return what is wrong with a certificate, as a clause; None for errors of another kind.

    Args:
        error: the error of the connection, with its causes.
        table: the table of the settings that has `ca_file`.
    """
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its TLS certificate was refused: {cause.verify_message}. {_advice(cause.verify_code, table)}"
    return None


def _advice(code: int, table: str) -> str:
    if code in {NOT_YET_VALID, EXPIRED}:
        return "Renew the certificate, or correct this machine's clock"
    if code in {HOST_MISMATCH, ADDRESS_MISMATCH}:
        return f"Use the name that is in the certificate in {table}.url"
    return (
        "dagcall trusts the authorities that this system trusts, or those in "
        f"{table}.ca_file: add the one that signed the certificate"
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
