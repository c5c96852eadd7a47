"""No public signature and no route is removed or changed without being noticed."""

from __future__ import annotations

import audit


def test_no_public_signature_is_removed_or_changed() -> None:
    """What others build on; after an addition, `scripts/audit.py --accept` writes it down."""
    known = audit.SIGNATURES.read_text("utf-8").splitlines()
    live = audit.signatures()
    assert [line for line in known if line not in live] == []
    assert [line for line in live if line not in known] == [], "scripts/audit.py --accept"


def test_no_route_is_removed_or_renamed() -> None:
    """The same for those who call over HTTP."""
    known = audit.ROUTES.read_text("utf-8").splitlines()
    live = audit.routes()
    assert [line for line in known if line not in live] == []
    assert [line for line in live if line not in known] == [], "scripts/audit.py --accept"
