"""Stands in for the parts of FastAPI and LiteLLM that authentication functions import, where they are not installed.

The shapes are those that such functions rely on; nothing here checks anything, because the gateway does.
"""

import copy
import enum
import http
import importlib.util
import json
import logging
import sys
import types
import urllib.parse


def install():
    if not installed("starlette"):
        install_starlette()
    if not installed("fastapi"):
        install_fastapi()
    if not installed("litellm"):
        install_litellm()


def installed(name):
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    # A mere folder of that name, beside the configuration perhaps, has no file of its own.
    return found is not None and found.origin is not None


def module(name, **members):
    made = types.ModuleType(name)
    made.__path__ = []
    made.__dict__.update(members)
    sys.modules[name] = made
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, made)
    return made


class Headers:
    """Header fields by name, whatever its case; the first of several."""

    def __init__(self, raw):
        self.raw = [(name.lower(), value) for name, value in raw]

    def getlist(self, name):
        wanted = name.lower().encode("latin-1")
        return [value.decode("latin-1") for known, value in self.raw if known == wanted]

    def get(self, name, default=None):
        return next(iter(self.getlist(name)), default)

    def __getitem__(self, name):
        found = self.get(name)
        if found is None:
            raise KeyError(name)
        return found

    def __contains__(self, name):
        return isinstance(name, str) and bool(self.getlist(name))

    def __iter__(self):
        return iter(self.keys())

    def __len__(self):
        return len(self.raw)

    def keys(self):
        return [name.decode("latin-1") for name, _ in self.raw]

    def values(self):
        return [value.decode("latin-1") for _, value in self.raw]

    def items(self):
        return list(zip(self.keys(), self.values()))


class QueryParams(dict):
    def __init__(self, text):
        self.pairs = urllib.parse.parse_qsl(text, keep_blank_values=True)
        super().__init__(self.pairs)

    def getlist(self, name):
        return [value for known, value in self.pairs if known == name]

    def multi_items(self):
        return list(self.pairs)


class URL(str):
    """An address as text, and its parts."""

    @property
    def parts(self):
        return urllib.parse.urlsplit(str(self))

    scheme = property(lambda self: self.parts.scheme)
    path = property(lambda self: self.parts.path)
    query = property(lambda self: self.parts.query)
    netloc = property(lambda self: self.parts.netloc)
    hostname = property(lambda self: self.parts.hostname)
    port = property(lambda self: self.parts.port)


class Address(tuple):
    host = property(lambda self: self[0])
    port = property(lambda self: self[1])


class State:
    """Whatever is put on it."""


class Request:
    def __init__(self, scope, receive=None, send=None):
        self.scope = scope
        self._receive = receive
        self._body = None
        self.state = State()
        self.headers = Headers(scope["headers"])
        self.query_params = QueryParams(scope["query_string"].decode("latin-1"))
        self.path_params = {}
        self.method = scope["method"]
        client = scope.get("client")
        self.client = Address(client) if client else None
        self.app = scope.get("app")

    @property
    def url(self):
        query = self.scope["query_string"].decode("latin-1")
        host = self.headers.get("host", "portcullis")
        return URL(f"{self.scope['scheme']}://{host}{self.scope['path']}" + (f"?{query}" if query else ""))

    @property
    def base_url(self):
        return URL(f"{self.scope['scheme']}://{self.headers.get('host', 'portcullis')}/")

    @property
    def cookies(self):
        found = {}
        for line in self.headers.getlist("cookie"):
            for part in line.split(";"):
                name, given, value = part.strip().partition("=")
                if given:
                    found[name.strip()] = value.strip().strip('"')
        return found

    def __getitem__(self, name):
        return self.scope[name]

    def get(self, name, default=None):
        return self.scope.get(name, default)

    async def body(self):
        if self._body is None:
            self._body = (await self._receive())["body"]
        return self._body

    async def json(self):
        return json.loads(await self.body())


class HTTPException(Exception):
    def __init__(self, status_code, detail=None, headers=None):
        self.status_code = status_code
        self.detail = http.HTTPStatus(status_code).phrase if detail is None else detail
        self.headers = headers
        super().__init__(status_code, self.detail)


def install_starlette():
    module("starlette")
    module("starlette.requests", Request=Request, HTTPConnection=Request)
    module("starlette.exceptions", HTTPException=HTTPException)
    module("starlette.datastructures", Headers=Headers, QueryParams=QueryParams, URL=URL, State=State)
    module("starlette.status", **statuses())


def statuses():
    return {f"HTTP_{status.value}_{name}": status.value for name, status in http.HTTPStatus.__members__.items()}


def install_fastapi():
    def parameter(default=None, *_, **__):
        return default

    starlette = sys.modules.get("starlette.requests") or importlib.import_module("starlette.requests")
    exceptions = sys.modules.get("starlette.exceptions") or importlib.import_module("starlette.exceptions")
    raised = exceptions.HTTPException
    parameters = {name: parameter for name in ("Header", "Query", "Cookie", "Depends", "Security", "Body", "Form")}
    made = module("fastapi", Request=starlette.Request, HTTPException=raised, **parameters)
    made.status = module("fastapi.status", **statuses())
    module("fastapi.requests", Request=starlette.Request)
    module("fastapi.exceptions", HTTPException=raised)
    module("fastapi.params")
    scheme = type("Scheme", (), {"__init__": lambda self, *_, **__: None})
    schemes = ("APIKeyHeader", "HTTPBearer", "HTTPBasic", "HTTPAuthorizationCredentials", "OAuth2PasswordBearer")
    module("fastapi.security", **{name: scheme for name in schemes})
    module("fastapi.security.api_key", APIKeyHeader=scheme)


class LitellmUserRoles(str, enum.Enum):
    PROXY_ADMIN = "proxy_admin"
    PROXY_ADMIN_VIEW_ONLY = "proxy_admin_viewer"
    ORG_ADMIN = "org_admin"
    INTERNAL_USER = "internal_user"
    INTERNAL_USER_VIEW_ONLY = "internal_user_viewer"
    TEAM = "team"
    CUSTOMER = "customer"

    def __str__(self):
        return str(self.value)


class UserAPIKeyAuth:
    """The identity: LiteLLM's fields, and whatever else is given."""

    token = api_key = key_name = key_alias = user_id = user_email = user_role = team_id = team_alias = None
    org_id = organization_id = end_user_id = expires = blocked = max_budget = tpm_limit = rpm_limit = None
    max_parallel_requests = budget_duration = allowed_routes = team_blocked = team_max_budget = team_spend = None
    user_max_budget = user_tpm_limit = user_rpm_limit = team_tpm_limit = team_rpm_limit = parent_otel_span = None
    spend = 0.0

    def __init__(self, **fields):
        for name, value in defaults_of(type(self)).items():
            fields.setdefault(name, copy.deepcopy(value))
        for name in ("models", "team_models", "allowed_cache_controls"):
            fields.setdefault(name, [])
        for name in ("metadata", "aliases", "config", "permissions", "model_max_budget", "model_spend"):
            fields.setdefault(name, {})
        self.__dict__.update(fields)

    def model_dump(self, *_, **__):
        return dict(self.__dict__)

    def dict(self, *_, **__):
        return self.model_dump()

    def model_dump_json(self, *_, **__):
        return json.dumps(self.model_dump(), default=str)

    json = model_dump_json


def defaults_of(kind):
    """What a subclass of the identity sets for all of its own: without it limits would be lost."""
    found = {}
    for part in reversed(kind.__mro__[: kind.__mro__.index(UserAPIKeyAuth)]):
        fields = {name: value for name, value in vars(part).items() if not name.startswith("_")}
        found.update({name: value for name, value in fields.items() if not hasattr(value, "__get__")})
    return found


class ProxyException(Exception):
    def __init__(self, message, type=None, param=None, code=None, headers=None, **_):
        super().__init__(message)
        self.message = message
        self.type = type
        self.param = param
        self.code = code
        self.headers = headers or {}


class Cache:
    """Remembers within this process; LiteLLM's would ask Redis too."""

    def __init__(self):
        self.known = {}

    def get_cache(self, key, *_, **__):
        return self.known.get(key)

    def set_cache(self, key, value, *_, **__):
        self.known[key] = value

    async def async_get_cache(self, key, *_, **__):
        return self.known.get(key)

    async def async_set_cache(self, key, value, *_, **__):
        self.known[key] = value


def install_litellm():
    logger = logging.getLogger("LiteLLM Proxy")
    module("litellm", __version__="0.0.0+portcullis")
    module("litellm._logging", verbose_proxy_logger=logger, verbose_logger=logger)
    module("litellm.proxy")
    types_ = {"UserAPIKeyAuth": UserAPIKeyAuth, "LitellmUserRoles": LitellmUserRoles, "ProxyException": ProxyException}
    module("litellm.proxy._types", **types_)
    module("litellm.proxy.proxy_server", prisma_client=None, user_api_key_cache=Cache(), general_settings={})
    module("litellm.caching")
    module("litellm.caching.caching", DualCache=Cache)
