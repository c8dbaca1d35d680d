"""The Django application behind Channels, as the Channels documentation says, with its two kinds of consumers."""

from types import ModuleType

from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from channels.sessions import CookieMiddleware, SessionMiddlewareStack
from django.urls import path

from . import channels_consumers, channels_sync_consumers, django_app


def serving(consumers: ModuleType) -> ProtocolTypeRouter:
    """Django for HTTP and the consumers of a module for WebSockets."""
    routes = [
        *consumers.routes,
        path("ws/session", SessionMiddlewareStack(consumers.Session.as_asgi())),
        path("ws/same-origin", AllowedHostsOriginValidator(consumers.Echo.as_asgi())),
    ]
    return ProtocolTypeRouter({"http": django_app.app, "websocket": CookieMiddleware(URLRouter(routes))})


app = serving(channels_consumers)
sync_app = serving(channels_sync_consumers)
