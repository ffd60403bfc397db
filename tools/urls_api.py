"""Addresses of the tools' HTTP API, to be included below ``/api/v1/``."""

from django.urls import path

from tools import api

urlpatterns = [
    path("tools", api.tools, name="tools"),
    path("tools/<str:slug>", api.tool, name="tool"),
]
