"""Who is who, without saying so: keyed hashes with the cohort's secret stand for every identifier.

    identity = Identity.of(store)
    patient_key = identity.patient_key("hospital-a", "1")       # another hospital's patient `1` has another key

Keys are HMAC-SHA256 (RFC 2104), cut to 128 bits, over a purpose and its parts; without the secret in `private/` they
can neither be turned back nor compared with those of another cohort.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field

from pipeline.errors import StoreError
from pipeline.store import Store

SECRET = "private/secret"  # noqa: S105 - its place, not itself
"""Where the cohort's secret lies in its store."""

_SECRET_BYTES = 32
_KEY_DIGITS = 32
_MOST_SHIFT_DAYS = 365


@dataclass(frozen=True)
class Identity:
    """Makes keys from identifiers; the same secret gives the same keys."""

    secret: bytes = field(repr=False)
    """32 random bytes."""

    @classmethod
    def of(cls, store: Store) -> Identity:
        """The identity of a store; the first to ask makes its secret.

        Raises:
            StoreError: the secret in the store is damaged.
        """
        text = store.create_once(SECRET, secrets.token_bytes(_SECRET_BYTES).hex().encode())
        try:
            secret = bytes.fromhex(text.decode().strip())
        except ValueError:
            secret = b""
        if len(secret) != _SECRET_BYTES:
            raise StoreError(
                f"the cohort's secret (private/) should be {_SECRET_BYTES} bytes in hex and is not: "
                "bring it back from a backup, or use a new store; keys made with another secret do not match"
            )
        return cls(secret)

    @classmethod
    def throwaway(cls) -> Identity:
        """An identity for looking only: its keys mean nothing tomorrow."""
        return cls(secrets.token_bytes(_SECRET_BYTES))

    def patient_key(self, scope: str | None, patient_id: str) -> str:
        """Key of a patient; `scope` is the site or issuer within which `patient_id` is unique."""
        return self._key("patient", scope or "", patient_id)

    def stranger_key(self, study: str) -> str:
        """Key of a patient without an ID: one for each study, never one shared by all."""
        return self._key("stranger", study)

    def study_key(self, patient_key: str, study: str) -> str:
        """Key of a study: its UID, or its date where there is no UID."""
        return self._key("study", patient_key, study)

    def series_key(self, study_key: str, series: str, modality: str | None, part: int) -> str:
        """Key of one volume: part `part` of a series."""
        return self._key("series", study_key, series, modality or "", str(part))

    def uid_key(self, uid: str) -> str:
        """Key of any other UID or serial number."""
        return self._key("uid", uid)

    def shift_days(self, patient_key: str) -> int:
        """Days by which a patient's dates are moved: -365 to -1, the same for all of them."""
        return -1 - int(self._key("shift", patient_key), 16) % _MOST_SHIFT_DAYS

    def site_pseudonym(self, institution: str) -> str:
        """A name for an institution that does not tell which it is."""
        return f"site-{self._key('site', ' '.join(institution.casefold().split()))[:8]}"

    def _key(self, purpose: str, *parts: str) -> str:
        # lengths first, so that no two lists of parts read the same
        message = "".join(f"{len(part)}:{part}" for part in (purpose, *parts))
        return hmac.new(self.secret, message.encode(), hashlib.sha256).hexdigest()[:_KEY_DIGITS]
