"""All URLs of the web process."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("agents.pages.urls")),
    path("chat/", include("agents.api.chat_urls")),
    path("admin/", admin.site.urls),
    path("api/", include("agents.api.urls")),
    path("v1/", include("agents.openai_api.urls")),
]

handler400 = "bandstand.error_handlers.bad_request"
handler500 = "bandstand.error_handlers.server_error"
