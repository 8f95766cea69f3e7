"""An OpenID Connect server on 127.0.0.1, served by a thread. It asks nobody for a password: a page with one button signs in.

It holds clients to the protocol: redirect_uri, PKCE (S256), the client's secret, codes that work once, bearer tokens.
"""

import base64
import hashlib
import html
import json
import secrets
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

KEY_ID = "stand-in"


@dataclass
class Identity:
    """Who signs in there. ``email_verified`` is sent as it is, so that a word in place of a truth value can be tried."""

    subject: str = "subject-1"
    email: str = "dana@example.com"
    email_verified: bool | str = True
    name: str = "Dana Ito"

    def claims(self) -> dict[str, Any]:
        """Return what the server says about them."""
        return {"sub": self.subject, "email": self.email, "email_verified": self.email_verified, "name": self.name}


@dataclass
class Grant:
    """A code, or a token, and what it stands for."""

    identity: Identity
    redirect_uri: str
    challenge: str
    nonce: str = ""


@dataclass
class OpenIDServer:
    """The server; change ``identity`` to sign in as somebody else. ``asked`` counts calls by path."""

    client_id: str = "lumyx-test"
    client_secret: str = "oidc-secret-of-the-stand-in"  # noqa: S105  nothing real knows it
    identity: Identity = field(default_factory=Identity)
    asked: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.codes: dict[str, Grant] = {}
        self.tokens: dict[str, Grant] = {}
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"provider": self}))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> Self:
        """Serve in a thread."""
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop serving and free the port."""
        self.server.shutdown()
        self.server.server_close()

    def settings(self, name: str = "Example ID") -> dict[str, Any]:
        """Return SOCIALACCOUNT_PROVIDERS with this server in it."""
        app = {"client_id": self.client_id, "secret": self.client_secret, "provider_id": "oidc", "name": name}
        return {"openid_connect": {"APPS": [{**app, "settings": {"server_url": self.url}}], "OAUTH_PKCE_ENABLED": True}}

    def discovery(self) -> dict[str, Any]:
        """Return the document that clients begin with."""
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "userinfo_endpoint": f"{self.url}/userinfo",
            "jwks_uri": f"{self.url}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
            "code_challenge_methods_supported": ["S256"],
        }

    def keys(self) -> dict[str, Any]:
        """Return the public key that tokens are signed with."""
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        return {"keys": [{**public, "kid": KEY_ID, "use": "sig", "alg": "RS256"}]}

    def authorize(self, query: dict[str, str]) -> str:
        """Return where the button leads: back to the client, with a code. Raises ValueError for what is not a right request."""
        if query.get("client_id") != self.client_id or query.get("response_type") != "code":
            raise ValueError("unknown client, or not a code that is asked for")
        if query.get("code_challenge_method") != "S256" or not query.get("code_challenge"):
            raise ValueError("PKCE is missing")
        code = secrets.token_urlsafe(16)
        self.codes[code] = Grant(
            self.identity, query["redirect_uri"], query["code_challenge"], nonce=query.get("nonce", "")
        )
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query.get('state', '')})}"

    def exchange(self, form: dict[str, str]) -> dict[str, Any]:
        """Return tokens for a code, once. Raises ValueError."""
        grant = self.codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if grant is None or form.get("redirect_uri") != grant.redirect_uri:
            raise ValueError("the code is unknown, used, or another address's")
        if (form.get("client_id"), form.get("client_secret")) != (self.client_id, self.client_secret):
            raise ValueError("the client's secret is wrong")
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != grant.challenge:
            raise ValueError("the PKCE verifier is wrong")
        token = secrets.token_urlsafe(16)
        self.tokens[token] = grant
        now = int(time.time())
        claims = {"iss": self.url, "aud": self.client_id, "iat": now, "exp": now + 300, **grant.identity.claims()}
        signed = jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": KEY_ID})
        return {"access_token": token, "token_type": "Bearer", "expires_in": 300, "id_token": signed}


class _Handler(BaseHTTPRequestHandler):
    provider: OpenIDServer

    def do_GET(self) -> None:
        """Answer discovery, keys, the page of authorization, userinfo."""
        parts = urlsplit(self.path)
        self._count(parts.path)
        if parts.path == "/.well-known/openid-configuration":
            self._json(200, self.provider.discovery())
        elif parts.path == "/keys":
            self._json(200, self.provider.keys())
        elif parts.path == "/authorize":
            self._page({name: values[0] for name, values in parse_qs(parts.query).items()})
        elif parts.path == "/userinfo":
            grant = self.provider.tokens.get((self.headers.get("Authorization") or "").removeprefix("Bearer "))
            self._json(200 if grant else 401, grant.identity.claims() if grant else {"error": "invalid_token"})
        else:
            self._json(404, {"error": "not_found"})

    def do_POST(self) -> None:
        """Answer the exchange of a code."""
        self._count(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        try:
            self._json(200, self.provider.exchange({name: values[0] for name, values in parse_qs(body).items()}))
        except ValueError as error:
            self._json(400, {"error": "invalid_grant", "error_description": str(error)})

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""

    def _count(self, path: str) -> None:
        self.provider.asked[path] = self.provider.asked.get(path, 0) + 1

    def _page(self, query: dict[str, str]) -> None:
        try:
            target = self.provider.authorize(query)
        except (ValueError, KeyError) as error:
            self._json(400, {"error": "invalid_request", "error_description": str(error)})
            return
        who, denied = (
            html.escape(self.provider.identity.email),
            urlencode({"error": "access_denied", "state": query["state"]}),
        )
        text = (
            f'<!doctype html><title>Stand-in</title><h1>Sign in as {who}?</h1><a id="go" href="{html.escape(target)}">Go on</a> '
            f'<a id="no" href="{html.escape(query["redirect_uri"])}?{html.escape(denied)}">Cancel</a>'
        )
        self._send(200, "text/html; charset=utf-8", text.encode())

    def _json(self, status: int, body: dict[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(body).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
