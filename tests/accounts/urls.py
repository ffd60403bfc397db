"""A small site for the tests of accounts: a view that counts what really ran."""

from django.contrib import admin
from django.http import Http404, HttpResponse
from django.urls import include, path
from rest_framework import exceptions
from rest_framework.parsers import JSONParser, MultiPartParser
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.idempotency import id_of_work, idempotent
from credits.ledger import InsufficientCredits

ran = []
"""One line for every time that the work was done."""

ids = []
"""The ids that these runs would have given to what they make."""

meanwhile = []
"""What happens while the work is done; emptied by whoever filled it."""


class Unavailable(exceptions.APIException):
    status_code = 503
    default_code = "unavailable"


class Work(APIView):
    """Does what the body asks for and says which turn it was."""

    parser_classes = [JSONParser, MultiPartParser]

    def get(self, request):
        return Response({"email": request.user.email})

    @idempotent
    def post(self, request, number=None):
        ran.append(number)
        ids.append(id_of_work(request))
        turn = len(ran)
        for happen in meanwhile:
            happen()
        match request.data.get("do"):
            case "refuse":
                raise exceptions.PermissionDenied
            case "miss":
                raise Http404
            case "run dry":
                raise InsufficientCredits(required=2, available=1)
            case "fail":
                raise Unavailable
            case "crash":
                raise ZeroDivisionError
            case "slow down":
                raise exceptions.Throttled(wait=3)
        answer = {"turn": turn, "file": None}
        if sent := request.FILES.get("file"):
            answer["file"] = sent.read().decode()
        return Response(answer, status=201, headers={"Location": f"/work/{turn}"})


urlpatterns = [
    path("", lambda _request: HttpResponse("home"), name="home"),
    path("admin/", admin.site.urls),
    path("accounts/", include("accounts.urls")),
    path("work", Work.as_view(), name="work"),
    path("work/<int:number>", Work.as_view(), name="one-work"),
]
