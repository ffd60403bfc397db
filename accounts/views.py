"""Pages about people's accounts."""

from django.contrib.auth.views import LoginView, LogoutView

from accounts.forms import EmailAuthenticationForm

login = LoginView.as_view(
    template_name="accounts/login.html",
    authentication_form=EmailAuthenticationForm,
    redirect_authenticated_user=True,
)
logout = LogoutView.as_view()
