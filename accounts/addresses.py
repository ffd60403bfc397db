"""Addresses: how somebody gets an account with one, proves it, and moves to another.

Whoever asks about an address learns nothing that its owner would not want to be known: pages
answer alike whether there is an account or not, and the mail makes the difference.
"""

from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import links, mail
from accounts.models import ApiKey, User, normal_email
from accounts.signals import address_confirmed


class AddressTaken(Exception):
    """Somebody else has an account with this address by now."""


def sign_up(email: str, password: str) -> None:
    """Make an account that waits for its address to be proved, and send the link.

    Where there is an account already, its owner is told by mail; the caller sees no difference,
    not even in the time it takes.
    """
    email = normal_email(email)
    try:
        with transaction.atomic():
            user = User.objects.create_user(email, password, email_verified_at=None)
    except IntegrityError:
        mail.send("taken", email)
        return
    send_confirmation(user)


def send_confirmation(user: User) -> bool:
    """Send the link that proves the account's own address."""
    token = links.make(user, purpose=links.CONFIRM, address=user.email)
    return bool(mail.send("confirm", user.email, token=token))


def confirm(user: User) -> bool:
    """Note that the address was proved; False when somebody was faster."""
    with transaction.atomic():
        waiting = User.objects.filter(pk=user.pk, email=user.email, email_verified_at=None)
        if not waiting.update(email_verified_at=timezone.now()):
            return False
        address_confirmed.send(sender=User, user=user)
    return True


def confirm_by_reset(user: User) -> None:
    """A password that was set through a mail proves the address as well.

    Keys that were made before anybody had proved it may be a stranger's, so they end.
    """
    with transaction.atomic():
        if confirm(user):
            ApiKey.objects.filter(user=user, revoked_at=None).update(revoked_at=timezone.now())


def ask_to_move(user: User, address: str) -> None:
    """Send the link to the new address, and tell the old one. Nothing changes until it is used."""
    address = normal_email(address)
    if User.objects.filter(email=address).exists():
        mail.send("taken", address)
    else:
        token = links.make(user, purpose=links.MOVE, address=address)
        mail.send("move", address, token=token)
    mail.send("moving", user.email, address=address)


def move(user: User, address: str) -> bool:
    """Give the account its new, proved address; False when the link has just been used.

    Raises ``AddressTaken``.
    """
    try:
        with transaction.atomic():
            as_it_was = User.objects.filter(
                pk=user.pk, email=user.email, password=user.password, is_active=True
            )
            if not as_it_was.update(email=address, email_verified_at=timezone.now()):
                return False
            address_confirmed.send(sender=User, user=user)
    except IntegrityError:
        raise AddressTaken from None
    return True
