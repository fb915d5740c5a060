"""One JSON request over HTTP with the standard library.

Redirects are refused (one could carry a report to another host), a proxy of the environment is never used for
this computer's own addresses, the time limit holds for the whole reply and not for each packet, and every failure says
whether the server may have done the work all the same.
"""

from __future__ import annotations

import email.utils
import http.client
import ipaddress
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from radvlm.errors import InputError
from radvlm.evaluate.judge.backend import BackendFailure

#: Longest reply in bytes.
MAX_REPLY_BYTES = 8_000_000


def is_local(url: str) -> bool:
    """Whether the host of a URL is this computer: ``localhost`` or a loopback address; names are not looked up."""
    host = (urlsplit(url).hostname or "").rstrip(".").lower()
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_destination(url: str, allow_remote: bool) -> str:
    """Host of a URL to which reports may go; InputError for a bad URL, or a remote host without consent."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise InputError("a base URL is valid", f"{url!r}: {error}") from error
    if parts.scheme not in ("http", "https") or not host or parts.username or parts.query or parts.fragment:
        raise InputError(
            "a base URL is http(s)://host[:port]/path, without user, query or fragment",
            repr(url.split("?")[0] if not parts.username else "a URL with a user name"),
        )
    if not allow_remote and not is_local(url):
        raise InputError(
            "reports leave this computer only with explicit consent",
            f"host {host}",
            "Reports are health data. If you may send them there, pass allow_remote=True "
            "(--allow-remote); otherwise use a server on this computer, or offline batch files",
        )
    return parts.netloc


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> None:
        return None


def post_json(url: str, body: Mapping[str, Any], headers: Mapping[str, str], timeout_s: float) -> dict[str, Any]:
    """POST a JSON object, return the JSON object of the reply. Raises BackendFailure for everything else."""
    handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
    if is_local(url):
        handlers.append(urllib.request.ProxyHandler({}))
    opener = urllib.request.build_opener(*handlers)
    request = urllib.request.Request(
        url,
        json.dumps(body).encode("ascii"),
        {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "radvlm", **headers},
    )
    deadline = time.monotonic() + timeout_s
    try:
        with opener.open(request, timeout=timeout_s) as response:
            data = _read(response, deadline)
    except urllib.error.HTTPError as error:
        with error:
            try:
                said = _read(error, deadline)[:20_000]
            except (OSError, http.client.HTTPException, BackendFailure):
                said = b""
            raise _refusal(error.code, error.headers, said) from None
    except (OSError, http.client.HTTPException) as error:
        raise _broken(error, url) from None
    try:
        value = json.loads(data)
    except ValueError:
        raise BackendFailure("server_error", "the server's reply is not JSON", retry=True, lost=True) from None
    if not isinstance(value, dict):
        raise BackendFailure("server_error", "the server's reply is not a JSON object", retry=True, lost=True)
    return value


def _read(response: Any, deadline: float) -> bytes:
    parts, size = [], 0
    while part := response.read1(65_536):
        size += len(part)
        if size > MAX_REPLY_BYTES:
            raise BackendFailure("server_error", f"a reply of more than {MAX_REPLY_BYTES} bytes", lost=True)
        if time.monotonic() > deadline:
            raise TimeoutError("the reply took too long")
        parts.append(part)
    if getattr(response, "length", None):  # the connection ended before the promised length
        raise http.client.IncompleteRead(b"", response.length)
    return b"".join(parts)


def _broken(error: BaseException, url: str) -> BackendFailure:
    """A connection that failed. urllib wraps what happened before the request was out in URLError; what happened
    afterwards comes bare, and then the server may have done the work."""
    unsent = isinstance(error, urllib.error.URLError)
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    host = urlsplit(url).netloc
    if isinstance(cause, ssl.SSLCertVerificationError):
        return BackendFailure("unreachable", f"{host}: {cause.verify_message}", fatal=True)
    if isinstance(cause, TimeoutError):
        return BackendFailure(
            "timeout", f"{host}: no {'connection' if unsent else 'reply'} in time", retry=True, lost=not unsent
        )
    return BackendFailure("unreachable", f"{host}: {type(cause).__name__}: {cause}", retry=True, lost=not unsent)


def _refusal(code: int, headers: Any, data: bytes) -> BackendFailure:
    """An HTTP status other than success."""
    message, kind = _message(data)
    text = f"HTTP {code}" + (f": {message}" if message else "")
    if code == 429:
        empty = kind == "insufficient_quota"
        return BackendFailure("rate_limited", text, retry=not empty, wait_s=_retry_after(headers), fatal=empty)
    if code in (401, 403, 404, 405) or 300 <= code < 400:
        return BackendFailure("rejected", text, fatal=True)
    if kind == "content_filter" or "ResponsibleAIPolicyViolation" in text:
        return BackendFailure("filtered", text)
    if code in (408, 409, 425) or code >= 500:
        return BackendFailure("server_error", text, retry=True, wait_s=_retry_after(headers), lost=code == 504)
    return BackendFailure("rejected", text)


def _message(data: bytes) -> tuple[str, str]:
    """(message, code) of an error body, in the forms that servers use; never longer than 300 characters."""
    try:
        body = json.loads(data)
        error = body.get("error", body)
        if isinstance(error, str):
            return error[:300], ""
        said = error.get("message") or error.get("detail") or ""
        return str(said)[:300], str(error.get("code") or error.get("type") or "")
    except (ValueError, AttributeError):
        return data[:200].decode("utf-8", "replace").strip(), ""


def _retry_after(headers: Any) -> float | None:
    """Seconds that the server asks to wait: ``retry-after-ms``, or Retry-After in seconds or as a date (RFC 9110)."""
    try:
        if (milliseconds := headers.get("retry-after-ms")) is not None:
            return max(0.0, float(milliseconds) / 1000)
        if (value := headers.get("Retry-After")) is None:
            return None
        try:
            seconds = float(value)
        except ValueError:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        return max(0.0, seconds) if seconds == seconds else None
    except (TypeError, ValueError):
        return None
