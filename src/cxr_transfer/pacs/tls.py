"""Encryption of associations, certificates of both sides: BCP 195 (RFC 9325), PS3.15 annex B."""

from __future__ import annotations

import ssl

from cxr_transfer.errors import UsageError
from cxr_transfer.pacs.settings import Tls

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Ciphers of TLS 1.2 with forward secrecy and authenticated encryption; TLS 1.3 has no others."""


def tls_context(tls: Tls, *, accepts: bool) -> ssl.SSLContext:
    """Return what connections are encrypted with.

    Args:
        tls: Certificates.
        accepts: Whether it is for connections that come in, else for those that go out.

    Raises:
        UsageError: ``bad_certificate``.
    """
    purpose = ssl.Purpose.CLIENT_AUTH if accepts else ssl.Purpose.SERVER_AUTH
    try:
        context = ssl.create_default_context(purpose, cafile=str(tls.authority))
        context.load_cert_chain(tls.certificate, tls.key)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            "bad_certificate",
            f"Expected certificates (PEM) in {tls.certificate}, {tls.key} and {tls.authority}, but "
            f"got: {reason}; name the right files.",
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.verify_mode = ssl.CERT_REQUIRED
    # From Python 3.13 on it would ask for extensions that certificates of hospitals often lack.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
