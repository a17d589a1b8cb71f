"""Why a certificate was refused, ours or the server's, and what to do about it.

Pure. The codes are OpenSSL's (`X509_V_ERR_…`), which truststore uses on every system; the alerts are those of TLS
(https://www.rfc-editor.org/rfc/rfc8446#section-6), by OpenSSL's names.
"""

import ssl
from collections.abc import Iterator

NOT_YET_VALID, EXPIRED, HOST_MISMATCH, ADDRESS_MISMATCH = 9, 10, 62, 64
ALERTS = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it requires a client certificate: set airflow.client_cert_file",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": (
        "it refused the TLS handshake; if it requires a client certificate, set airflow.client_cert_file"
    ),
    "TLSV1_ALERT_UNKNOWN_CA": "it does not trust the authority that signed the certificate in airflow.client_cert_file",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it refused the certificate in airflow.client_cert_file",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the certificate in airflow.client_cert_file has expired",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "the certificate in airflow.client_cert_file was revoked",
}
"""What a server says of the client's certificate, by OpenSSL's name of the alert."""


def tls_problem(error: BaseException, table: str) -> str | None:
    """Return what is wrong with a certificate, as a clause; None for errors of another kind.

    Args:
        error: the error of the connection, with its causes.
        table: the table of the settings that has `ca_file`.
    """
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its TLS certificate was refused: {cause.verify_message}. {_advice(cause.verify_code, table)}"
        if isinstance(cause, ssl.SSLError) and cause.reason in ALERTS and table == "airflow":
            return ALERTS[cause.reason]
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
