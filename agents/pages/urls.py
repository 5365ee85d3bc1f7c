"""URLs of the pages."""

from django.urls import path

from accounts.pages import account
from accounts.pages.passwords import ChoosePasswordView, PasswordResetView
from agents.pages import views
from agents.pages.csp import APP_NAME

app_name = APP_NAME

urlpatterns = [
    path("", views.chat, name="chat"),
    path("help/", views.help_page, name="help"),
    path("memories/", views.memories, name="memories"),
    path("schedules/", views.schedules, name="schedules"),
    path("login/", views.login, name="login"),
    path("logout/", views.logout, name="logout"),
    path("account/", account.page, name="account"),
    path("account/password/", account.change_password, name="change-password"),
    path("account/sign-out/", account.sign_out_elsewhere, name="sign-out-elsewhere"),
    path("account/keys/", account.make_key, name="make-key"),
    path("account/keys/<uuid:key_id>/revoke/", account.revoke_key, name="revoke-key"),
    path("password/forgotten/", PasswordResetView.as_view(), name="forgotten-password"),
    path("password/<uidb64>/<token>/", ChoosePasswordView.as_view(), name="choose-password"),
]
