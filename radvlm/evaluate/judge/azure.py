"""Azure OpenAI: the same requests to a deployment, with a key or a Microsoft Entra token.

A token is a function, called for each request, because tokens expire during long runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import quote

from radvlm.errors import InputError
from radvlm.evaluate.judge.backend import Reply
from radvlm.evaluate.judge.openai_compatible import OpenAICompatible
from radvlm.evaluate.judge.request import FIRST_WIRE, JudgeRequest, Wire
from radvlm.evaluate.judge.wire import check_destination


class _Azure(OpenAICompatible):
    """Only the name and the address differ."""

    name = "azure"

    def __init__(
        self,
        url: str,
        headers: Callable[[], Mapping[str, str]],
        allow_remote: bool,
        timeout_s: float,
        wire: Wire,
        api_version: str,
    ) -> None:
        super().__init__(url, allow_remote=allow_remote, timeout_s=timeout_s, wire=wire, headers=headers)
        self._url += f"?api-version={quote(api_version)}"

    def send(self, request: JudgeRequest, idempotency_key: str) -> Reply:
        return super().send(request, idempotency_key)


def azure(
    endpoint: str,
    deployment: str,
    api_version: str,
    *,
    api_key: str = "",
    token: Callable[[], str] | None = None,
    allow_remote: bool = False,
    timeout_s: float = 120.0,
    wire: Wire = FIRST_WIRE,
) -> OpenAICompatible:
    """Backend for an Azure OpenAI deployment.

    Args:
        endpoint: ``https://NAME.openai.azure.com``.
        deployment: name of the deployment, which is also the model's name in requests.
        api_version: such as ``2024-10-21``; JSON Schema output needs 2024-08-01-preview or later.
        api_key: of the resource; or else
        token: gives a Microsoft Entra access token.
        allow_remote: consent to send reports there.

    Raises InputError unless there is exactly one of key and token, or without consent.
    """
    if bool(api_key) == (token is not None):
        raise InputError(
            "Azure takes a key or a token, one of them",
            "both" if api_key else "neither",
            "Set AZURE_OPENAI_API_KEY, or pass a function that gives a token",
        )
    if not deployment or not api_version:
        raise InputError("Azure needs a deployment and an API version", f"{deployment!r}, {api_version!r}")
    check_destination(endpoint, allow_remote)
    url = f"{endpoint.rstrip('/')}/openai/deployments/{quote(deployment, safe='')}"

    def headers() -> Mapping[str, str]:
        return {"Authorization": f"Bearer {token()}"} if token is not None else {"api-key": api_key}

    return _Azure(url, headers, allow_remote, timeout_s, wire, api_version)
