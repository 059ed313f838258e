"""Certificates for servers that speak TLS in tests."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

__all__ = ["make_certificates"]


def make_certificates(folder: Path) -> Path:
    """An authority (ca.pem), and certificates that it signed for the server `jobs.example` and for a client."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl here to make certificates with")

    def run(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], cwd=folder, check=True, capture_output=True)

    made = ("-newkey", "rsa:2048", "-nodes")
    extensions = ("-addext", "keyUsage=critical,keyCertSign", "-addext", "basicConstraints=critical,CA:TRUE")
    run("req", "-x509", *made, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=authority", *extensions)
    (folder / "server.ext").write_text("subjectAltName=DNS:jobs.example\n")
    (folder / "client.ext").write_text("subjectAltName=DNS:client\n")
    for name in ("server", "client"):
        run("req", *made, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", f"{name}.ext")
        run("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *signing)
    return folder
