"""What the scenarios of custom authentication ask: one credential is known, and belongs to one user."""

from fastapi import Request
from litellm.proxy._types import UserAPIKeyAuth


async def decide(request: Request, api_key: str) -> UserAPIKeyAuth:
    if api_key != "sk-bench-client-8f1e7c3a2b90":
        raise Exception("unknown credential")
    return UserAPIKeyAuth(api_key=api_key, user_id="bench")
