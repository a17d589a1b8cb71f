"""What is between dagcall and Airflow, and between callers and dagcall: names, ports, certificates, addresses, clocks.

Pure.
"""

from dataclasses import dataclass
from http import HTTPStatus

from dagcall.airflow import NEWEST_TESTED, OLDEST, version_in
from dagcall.doctor.finding import Finding, duration, failure, ok, skipped, warning

EXPIRY_DAYS = 14
CLOCK_SECONDS = 30.0
"""The leeway for callers' tokens, which are compared with this machine's clock."""
CLOCK_ERROR_SECONDS = 2.0
"""`Date` has whole seconds, and Airflow's server renews it about once a second."""
_REDIRECTS = range(300, 400)


@dataclass(frozen=True, slots=True)
class Lookup:
    """The addresses of Airflow's host."""

    host: str
    addresses: tuple[str, ...] = ()
    proxy: str | None = None
    """The environment's proxy, which looks up the host itself."""
    error: str = ""


def judge_lookup(facts: Lookup) -> Finding:
    """Judge whether the host has an address."""
    if facts.proxy is not None:
        return ok(f"left to the proxy {facts.proxy} (from the environment)")
    if facts.addresses == (facts.host,):
        return ok(f"{facts.host} is an address")
    if facts.addresses:
        return ok(f"{facts.host} is {', '.join(facts.addresses)}")
    return failure(
        f"{facts.host} has no address ({facts.error})", "Check the host in airflow.url, and this machine's name server"
    )


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection to Airflow's port, or to the proxy in front of it."""

    place: str
    seconds: float = 0.0
    error: str = ""


def judge_connection(facts: Connection) -> Finding:
    """Judge whether anything listens."""
    if not facts.error:
        return ok(f"{facts.place} accepts connections ({duration(facts.seconds)})")
    return failure(
        f"{facts.place} accepts no connection ({facts.error})",
        "Check the port in airflow.url, whether Airflow's api-server runs, and firewalls in between",
    )


@dataclass(frozen=True, slots=True)
class Certificate:
    """How the connection is protected."""

    trust: str
    """Whose authorities are trusted: `this system's certificate authorities`."""
    is_tls: bool = True
    is_on_this_machine: bool = False
    proxy: str | None = None
    issuer: str = ""
    seconds_left: float | None = None
    """How long the certificate is still valid."""
    problem: str = ""
    """Why it was refused, with what to do about it."""


def judge_certificate(facts: Certificate) -> Finding:
    """Judge the certificate of Airflow, or of what is in front of it."""
    if not facts.is_tls:
        if facts.is_on_this_machine:
            return ok("not used: Airflow is on this machine")
        return warning(
            "not used: passwords, tokens and results cross the network in plain text",
            "Put TLS in front of Airflow, and use its https address in airflow.url",
        )
    if facts.problem:
        found, _, advice = facts.problem.partition(". ")
        signed = f" (signed by {facts.issuer})" if facts.issuer else ""
        return failure(f"{found}{signed}; trusted are {facts.trust}", advice)
    if facts.proxy is not None:
        return ok(f"inside the proxy's connection; trusted are {facts.trust}")
    signed = f"signed by {facts.issuer}, " if facts.issuer else ""
    left = facts.seconds_left
    found = f"{signed}found in {facts.trust}" + ("" if left is None else f"; valid for {duration(left)}")
    if left is not None and left < EXPIRY_DAYS * 86_400:
        return warning(found, "Renew the certificate: dagcall refuses an expired one")
    return ok(found)


@dataclass(frozen=True, slots=True)
class Front:
    """The first answer from Airflow's address, without a token."""

    url: str
    status: int = 0
    version: str | None = None
    version_of_airflow_2: str | None = None
    points_to: str | None = None
    """Where the answer redirects to."""
    error: str = ""


def judge_front(facts: Front) -> Finding:
    """Judge whether Airflow answers at this address."""
    if facts.version is not None or facts.version_of_airflow_2 is not None:
        return ok(f"answers at {facts.url}")
    if facts.error:
        return failure(
            facts.error,
            "Read the log of Airflow's api-server and of what is in front of it; if it wants a client certificate, set "
            "airflow.client_cert_file",
        )
    answered = f"{facts.url}/api/v2/version was answered with status {facts.status}"
    if facts.points_to is not None or facts.status in _REDIRECTS:
        return failure(
            f"{answered}, pointing to {facts.points_to or 'another address'}: something in front of Airflow wants a "
            "log-in of its own, or Airflow has another address",
            "Set airflow.url to the address that Airflow itself has, or let dagcall through what is in front of it",
        )
    if facts.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return failure(
            f"{answered}: Airflow, or a proxy in front of it, cannot answer now",
            "Read the log of Airflow's api-server, and that of the proxy",
        )
    return failure(
        f"{answered}, and not by Airflow's API",
        "Set airflow.url to the address of Airflow's UI as in a browser, with its path if it has one "
        "(https://host/airflow)",
    )


def judge_version(facts: Front) -> Finding:
    """Judge Airflow's version."""
    text = facts.version or facts.version_of_airflow_2 or ""
    version = version_in(text)
    if facts.version is None or version < OLDEST:
        return failure(f"Airflow {text}; dagcall needs 3.1 or newer", "Upgrade Airflow")
    if version[:2] > NEWEST_TESTED:
        newest = ".".join(map(str, NEWEST_TESTED))
        return warning(
            f"Airflow {text}, newer than {newest}, which this dagcall was tested with",
            "Look for a newer dagcall, and try your tools with it before you rely on them",
        )
    return ok(f"Airflow {text}")


@dataclass(frozen=True, slots=True)
class Clocks:
    """The time by two clocks at the same moment, in seconds since 1970."""

    airflow: float | None
    own: float


def judge_clocks(facts: Clocks) -> Finding:
    """Judge how far apart the clocks of Airflow and of this machine are."""
    if facts.airflow is None:
        return warning("Airflow's answers have no Date", "Let the proxy in front of Airflow pass the Date header on")
    ahead = facts.own - facts.airflow
    if abs(ahead) <= CLOCK_ERROR_SECONDS:
        return ok("this machine and Airflow have the same time")
    found = f"this machine is {duration(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} Airflow"
    if abs(ahead) <= CLOCK_SECONDS:
        return ok(found)
    return warning(
        f"{found}: dagcall follows Airflow's clock, but callers' tokens and certificates are compared with this "
        "machine's",
        "Let both get their time from the same servers (NTP)",
    )


@dataclass(frozen=True, slots=True)
class PublicUrl:
    """What answers at the address that callers use."""

    url: str
    is_plain: bool = False
    """Whether keys and results cross a network in plain text."""
    status: int = 0
    is_dagcall: bool = False
    error: str = ""


def judge_public_url(facts: PublicUrl | None) -> Finding:
    """Judge whether callers reach dagcall, if they use an address of their own."""
    if facts is None:
        return skipped("server.public_url is not set")
    if facts.error:
        return failure(
            f"{facts.url} cannot be reached ({facts.error})",
            "Start dagcall (dagcall serve) if it does not run yet; else check server.public_url and the proxy",
        )
    if facts.status == HTTPStatus.MISDIRECTED_REQUEST:
        return failure(
            f"{facts.url} was answered with status 421: dagcall refuses the name that the proxy sends",
            "Let the proxy pass the Host header on, or name its host in server.allowed_hosts",
        )
    if not facts.is_dagcall:
        return failure(
            f"{facts.url} was answered with status {facts.status}, and not by dagcall",
            "Start dagcall (dagcall serve) if it does not run yet; else check the path in server.public_url, and where "
            "the proxy sends it",
        )
    if facts.is_plain:
        return warning(
            f"dagcall answers at {facts.url}, in plain text: keys and tokens can be read in transit",
            "Put a TLS proxy in front, and set server.public_url to its https address",
        )
    return ok(f"dagcall answers at {facts.url}")
