"""The fake provider behind the gateway, through its control paths (`bench/src/provider/control.rs`)."""

import base64
import json
import urllib.request

from relay import Request

# What the gateway is configured with for each kind of provider.
PROVIDER_KEYS = {
    "openai": "sk-provider-openai-7d1b6f0c",
    "azure": "provider-azure-41c09a3e",
    "anthropic": "sk-ant-api03-provider-93fb2a",
    "gemini": "AIzaSy-provider-5e80d2",
}

# Loopback only: a proxy setting of the environment does not apply.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Provider:
    def __init__(self, url: str):
        self.url = url

    def requests(self) -> list[Request]:
        """What reached it since the last `clear`, in order."""
        return [
            Request(
                entry["method"],
                entry["target"],
                [(name, value) for name, value in entry["headers"]],
                base64.b64decode(entry["body_base64"]),
            )
            for entry in self._call("GET", "requests")
        ]

    def clear(self):
        """Forgets requests and unused scripts."""
        self._call("DELETE", "requests")

    def fail(self, status: int, **headers: str):
        """Answers the next request with an error in the form of the API that it asks."""
        self._call("POST", "script", {"status": status, "headers": {k.replace("_", "-"): v for k, v in headers.items()}})

    def pace(self):
        """Sends no event of the next streamed answer before `release`."""
        self._call("POST", "script", {"paced": True})

    def release(self, count: int = 1):
        """Lets so many events of the paced answer go."""
        self._call("POST", "events", {"count": count})

    def _call(self, method: str, path: str, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/__provider/{path}", data=data, method=method)
        with _OPENER.open(request, timeout=20) as response:
            text = response.read()
            return json.loads(text) if text else None
