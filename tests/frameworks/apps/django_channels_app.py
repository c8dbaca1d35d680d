"""The Django application behind Channels, as the Channels documentation says."""

from channels.routing import ProtocolTypeRouter

from . import django_app

app = ProtocolTypeRouter({"http": django_app.app})
