"""Which server this user's Prefect talks to, and the auth string that guards it; kept in the active Prefect profile.

A variable of the environment counts more than the profile, as everywhere in Prefect, and is left alone.
"""

from __future__ import annotations

import base64
import contextlib
import secrets
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from prefect.settings import get_current_settings, temporary_settings, update_current_profile
from pydantic import SecretStr

from flows.server import answers
from segcore.errors import ConfigError

REPLY_S = 30.0  # a server that has just started on a busy machine may take seconds
LOCAL_API = "http://127.0.0.1:4200/api"
API_URL = "PREFECT_API_URL"
CLIENT_AUTH = "PREFECT_API_AUTH_STRING"
SERVER_AUTH = "PREFECT_SERVER_API_AUTH_STRING"
ACCESSORS = {API_URL: "api.url", CLIENT_AUTH: "api.auth_string", SERVER_AUTH: "server.api.auth_string"}


@contextlib.contextmanager
def connected() -> Iterator[tuple[str, ...]]:
    """Let Prefect use the configured server for the block, or one on this machine; yield lines on what was set.

    For a server on this machine the profile gets its URL and a new auth string where there are none. ConfigError when
    the configured server is on another machine and does not answer.
    """
    url = api_url()
    if not is_local(url) and not answers(url):
        raise ConfigError(
            f"{API_URL} is {url}, and no server answers there; start it, or forget it (prefect config unset {API_URL}) "
            "to use a server on this machine"
        )
    new = missing_settings() if is_local(url) else {}
    if not new:
        yield (f"settings: were there, in {profile_path()}",)
        return
    update_current_profile({name: new[name] for name in new})
    profile_path().chmod(0o600)
    with temporary_settings({ACCESSORS[name]: value for name, value in new.items()}):
        yield (f"settings: {', '.join(new)} written to {profile_path()}",)


def missing_settings() -> dict[str, str]:
    """Return what a server on this machine needs and Prefect's settings do not tell, by name of the variable."""
    settings = get_current_settings()
    client, server = settings.api.auth_string, settings.server.api.auth_string
    auth = plain(client or server) or f"segloop:{secrets.token_urlsafe(24)}"
    found = {API_URL: settings.api.url, CLIENT_AUTH: client, SERVER_AUTH: server}
    wanted = {API_URL: LOCAL_API, CLIENT_AUTH: auth, SERVER_AUTH: auth}
    return {name: value for name, value in wanted.items() if found[name] is None}


def plain(secret: SecretStr | None) -> str | None:
    """Return the text of a secret setting."""
    return None if secret is None else secret.get_secret_value()


def profile_path() -> Path:
    """Return the file of Prefect's profiles."""
    path = get_current_settings().profiles_path
    assert path is not None, "Prefect always sets it"
    return path


def api_url() -> str:
    """Return the API URL of the configured server, else of one on this machine."""
    return (get_current_settings().api.url or LOCAL_API).rstrip("/")


def ui_url() -> str:
    """Return the address of the server's pages."""
    return api_url().removesuffix("/api")


def is_local(url: str) -> bool:
    """Return whether a URL names this machine's loopback."""
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")


def port_of(url: str) -> int:
    """Return the port of a URL."""
    return urlsplit(url).port or 80


def access_lines() -> tuple[str, ...]:
    """Return a warning when the server lets anybody in; ConfigError when it does not let us in."""
    url = api_url()
    if status_of(url, None) == 200:
        return (
            f"warning: {url} lets anybody in; stop that server and start it again, now that there is an auth string",
        )
    if status_of(url, plain(get_current_settings().api.auth_string)) != 200:
        raise ConfigError(
            f"{CLIENT_AUTH} must be the auth string that the server at {url} was started with, and is another one or "
            f"none; set it (prefect config set {CLIENT_AUTH}=…), or start that server again with yours"
        )
    return ()


def status_of(url: str, auth: str | None) -> int:
    """Return the HTTP status of a small request to a server, with or without auth string."""
    try:
        reply_of(url, auth)
    except urllib.error.HTTPError as error:
        return error.code
    return 200


def reply_of(url: str, auth: str | None) -> bytes:
    """Return a server's answer, its version as JSON, to a small request; urllib's errors when it refuses."""
    request = urllib.request.Request(f"{url}/admin/version")
    if auth is not None:
        request.add_header("Authorization", f"Basic {base64.b64encode(auth.encode()).decode()}")
    with urllib.request.urlopen(request, timeout=REPLY_S) as reply:
        return bytes(reply.read())
