"""The address in a mail that ends mails of its kind; it needs no sign-in."""

from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from accounts import notices


@csrf_exempt  # mail programs post without a page of ours; the address itself is the proof
@require_http_methods(["GET", "HEAD", "POST"])
def unsubscribe(request: HttpRequest, token: str) -> HttpResponse:
    """Ask, since programs look at addresses in mails beforehand; on POST, switch it off."""
    found = notices.read(token)
    if found is None:
        raise Http404
    user, kind = found
    if request.method == "POST":
        notices.switch_off(user, kind)
    context = {"email": user.email, "kind": kind, "is_off": request.method == "POST"}
    return TemplateResponse(request, "accounts/unsubscribe.html", context)
