"""Plans."""

from accounts import plans


def test_everybody_is_on_the_standard_plan(alice, staff):
    for user in (alice, staff):
        plan = plans.plan_for(user)
        assert (plan.name, plan.batch_images, plan.api) == ("standard", 500, True)
