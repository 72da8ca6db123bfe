"""Throw-away keys to sign versions with."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)


def write_keys(folder: Path, *, on_a_curve: bool = True, password: bytes | None = None) -> tuple[Path, Path]:
    """A private key and its public one, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1()) if on_a_curve else rsa.generate_private_key(65537, 2048)
    hidden = BestAvailableEncryption(password) if password else NoEncryption()
    folder.mkdir(parents=True, exist_ok=True)
    private, public = folder / "key.pem", folder / "key.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, hidden))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public
