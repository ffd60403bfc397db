"""Addresses of the tools that are neither pages nor API: what services outside call."""

from django.urls import path

from tools import outside

urlpatterns = [path("provider/done/<str:signed>", outside.done, name="provider-done")]
