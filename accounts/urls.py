"""Addresses of the pages about people's accounts."""

from django.urls import path

from accounts.views import entering, keys, passwords, personal, proving, seeing, unsubscribing

app_name = "accounts"
urlpatterns = [
    path("", personal.home, name="home"),
    path("login/", entering.sign_in, name="login"),
    path("logout/", entering.sign_out, name="logout"),
    path("signup/", entering.sign_up, name="sign_up"),
    path("signup/sent/", entering.signed_up, name="signed_up"),
    path("confirm/", proving.send_again, name="send_again"),
    path("confirm/<str:token>/", proving.confirm, name="confirm"),
    path("email/", proving.email, name="email"),
    path("email/<str:token>/", proving.move, name="move"),
    path("password/", passwords.change, name="password"),
    path("password/reset/", passwords.reset, name="password_reset"),
    path("password/reset/sent/", passwords.reset_sent, name="password_reset_sent"),
    path("password/reset/<uidb64>/<token>/", passwords.choose, name="password_choose"),
    path("keys/", keys.index, name="keys"),
    path("keys/<uuid:uid>/revoke/", keys.revoke, name="revoke_key"),
    path("preferences/", personal.preferences, name="preferences"),
    path("unsubscribe/<str:token>/", unsubscribing.unsubscribe, name="unsubscribe"),
    path("seeing/stop/", seeing.stop, name="stop_seeing"),
    path("theme/", personal.theme, name="theme"),
]
