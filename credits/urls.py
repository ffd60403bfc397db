"""Addresses of the pages about credits."""

from django.urls import path

from credits import views

app_name = "credits"
urlpatterns = [
    path("", views.show, name="statement"),
    path("redeem/", views.redeem, name="redeem"),
    path("statement.csv", views.as_csv, name="csv"),
]
