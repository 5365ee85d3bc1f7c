"""Addresses of the pages."""

from django.urls import path

from agents.pages import views
from agents.pages.passwords import ChoosePassword
from agents.pages.policy import APP_NAME

app_name = APP_NAME

urlpatterns = [
    path("", views.chat, name="chat"),
    path("help/", views.help_page, name="help"),
    path("login/", views.login, name="login"),
    path("logout/", views.logout, name="logout"),
    path("password/<uidb64>/<token>/", ChoosePassword.as_view(), name="choose-password"),
]
