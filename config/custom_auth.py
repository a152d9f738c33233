"""Lets in whoever presents a credential of one of our tenants, with that tenant's rights.

Returning an identity lets the caller in. Raising refuses the credential; so that another method may know it (mode: auto), raise a
plain exception. HTTPException and ProxyException reach the caller in their own words.
"""

import hashlib
import hmac

from fastapi import HTTPException, Request
from litellm.proxy._types import UserAPIKeyAuth

# SHA-256 of each tenant's credential: printf %s CREDENTIAL | sha256sum
TENANTS = {
    "red": ("9a6f1c0d0b7f6f6a0d1c6d5f4f3d0a0be2c1f6f5b4a39281706f5e4d3c2b1a09", ["gpt-4o"]),
}


async def user_api_key_auth(request: Request, api_key: str) -> UserAPIKeyAuth:
    tenant = request.headers.get("x-tenant", "")
    if tenant not in TENANTS or not api_key:
        raise Exception("no tenant, or nothing presented")
    known, models = TENANTS[tenant]
    presented = hashlib.sha256(api_key.encode()).hexdigest()
    if not hmac.compare_digest(known, presented):
        raise HTTPException(status_code=401, detail="unknown credential of this tenant")
    return UserAPIKeyAuth(api_key=api_key, key_alias=tenant, team_id=tenant, models=models, rpm_limit=600)
