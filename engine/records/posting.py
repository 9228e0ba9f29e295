"""Sending to an address that the user gave, and to no other. Knows nothing of what is sent."""

import urllib.error
import urllib.request
from typing import Any


def posted(request: urllib.request.Request, *, seconds: float) -> Any:
    """The open response, as urllib gives it. An answer that leads on to another address is raised as the HTTPError that
    it is: followed, a message would be lost on the way, and a token told to whom it was not given."""
    return _opener.open(request, timeout=seconds)


class _StayHere(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        raise urllib.error.HTTPError(req.full_url, code, msg, headers, fp)


_opener = urllib.request.build_opener(_StayHere)
