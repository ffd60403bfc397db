"""Addresses under ``/api/v1/`` that tell about an account and its credits."""

from django.urls import path

from credits import api

urlpatterns = [
    path("me", api.MeView.as_view(), name="me"),
    path("credits/entries", api.EntriesView.as_view(), name="credit-entries"),
]
