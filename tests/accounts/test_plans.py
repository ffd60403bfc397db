"""Plans: what counts, and how soon a change of staff's does."""

from importlib import import_module

import pytest
from django.apps import apps
from django.db import IntegrityError

from accounts import plans
from accounts.models import Plan


@pytest.fixture
def standard(db) -> Plan:
    """The plan that the migrations leave; tests that commit take it away."""
    import_module("accounts.migrations.0005_staff_actions_stay").begin_with_the_standard_plan(
        apps, None
    )
    plans.remembered.forget()
    return Plan.objects.get(is_default=True)


def test_everybody_is_on_the_standard_plan(alice, staff):
    for user in (alice, staff):
        plan = plans.plan_for(user)
        assert (plan.name, plan.batch_images, plan.api) == ("standard", 500, True)


def test_the_first_migration_leaves_a_standard_plan_for_staff_to_change(standard, alice, settings):
    settings.API_READS_PER_HOUR = 7
    standard.batch_images = 20
    standard.save()

    plan = plans.plan_for(alice)
    assert (plan.name, plan.batch_images, plan.api_reads_per_hour) == ("standard", 20, 7)


def test_an_own_plan_counts_and_what_staff_set_for_the_one_account_counts_more(alice, bob):
    alice.plan = Plan.objects.create(
        slug="studio", name="Studio", batch_images=5_000, concurrent_batches=2
    )
    bob.batch_images = 3

    assert plans.plan_for(alice).batch_images == 5_000
    assert plans.plan_for(alice).concurrent_batches == 2
    assert plans.plan_for(bob).batch_images == 3
    alice.batch_images = 9
    assert plans.plan_for(alice).batch_images == 9


def test_plans_are_read_once_until_one_changes(alice, django_assert_num_queries):
    plan = Plan.objects.create(slug="studio", name="Studio", batch_images=5_000)
    alice.plan = plan
    with django_assert_num_queries(1):
        for _ in range(3):
            assert plans.plan_for(alice).batch_images == 5_000

    plan.batch_images = 10
    plan.save()
    assert plans.plan_for(alice).batch_images == 10


def test_two_plans_cannot_both_be_the_default(standard):
    with pytest.raises(IntegrityError):
        Plan.objects.create(slug="other", name="Other", is_default=True)
