"""One function for many cases: what the credential is called is what becomes of it."""

from datetime import datetime, timedelta, timezone

from fastapi import HTTPException, Request
from litellm.proxy._types import LitellmUserRoles, ProxyException, UserAPIKeyAuth

IDENTITIES = {
    "ok": {},
    "ok-admin": {"user_role": LitellmUserRoles.PROXY_ADMIN, "user_id": "admin"},
    "ok-user": {"user_role": LitellmUserRoles.INTERNAL_USER, "user_id": "user"},
    "ok-models": {"models": ["gpt-4o"]},
    "ok-models-other": {"models": ["another-model"]},
    "ok-routes": {"allowed_routes": ["/v1/models"]},
    "ok-expired": {"expires": datetime.now(timezone.utc) - timedelta(hours=1)},
    "ok-budget": {"max_budget": 1.0, "spend": 2.0},
    "ok-blocked": {"blocked": True},
    "ok-rpm1": {"rpm_limit": 1},
    "ok-par0": {"max_parallel_requests": 0},
    "sees-headers": {},
}
OTHERS = {"str-master": "sk-1234", "str-bad": "sk-nobody-has-this", "dict": {"user_id": "user"}, "true": True, "none": None}
REFUSALS = {
    "http401dict": HTTPException(401, {"error": "structured"}),
    "http403": HTTPException(403, "forbidden by custom auth"),
    "http429": HTTPException(429, "slow down"),
    "proxyexc": ProxyException("custom says no", "invalid_request_error", "api_key", 402),
}


async def decide(request: Request, api_key: str):
    if not api_key:
        raise Exception("no key given")
    if api_key == "sees-headers":
        assert request.headers["content-type"] == "application/json"
    if api_key in IDENTITIES:
        return UserAPIKeyAuth(api_key=api_key, **IDENTITIES[api_key])
    if api_key in OTHERS:
        return OTHERS[api_key]
    raise REFUSALS.get(api_key) or Exception("Invalid API key")
