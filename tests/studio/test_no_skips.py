import textwrap

import pytest

pytest_plugins = ["pytester"]


@pytest.fixture
def run(pytester):
    """Runs a test module under the plugin and nothing else of this suite."""

    def run(source):
        pytester.makepyfile(textwrap.dedent(source))
        return pytester.runpytest(
            "-p", "tests.no_skips", "-p", "no:django", "-p", "no:cacheprovider"
        )

    return run


@pytest.mark.parametrize(
    "skip",
    [
        "@pytest.mark.skip(reason='no browser')\ndef test_it(): pass",
        "def test_it(): pytest.skip('no browser')",
        "@pytest.fixture\ndef page(): pytest.skip('no browser')\ndef test_it(page): pass",
    ],
    ids=["by mark", "in the test", "in a fixture"],
)
def test_a_skipped_test_fails_and_says_why(run, skip):
    result = run(f"import pytest\n\n{skip}")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*no browser*", "*Nothing is skipped in silence*"])


def test_a_module_that_skips_itself_fails_the_run(run):
    result = run("import pytest\npytest.importorskip('a_package_nobody_has')")

    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*a_package_nobody_has*", "*Nothing is skipped in silence*"])


def test_an_expected_failure_is_no_skip(run):
    result = run("import pytest\n@pytest.mark.xfail\ndef test_it(): assert False")

    result.assert_outcomes(xfailed=1)
    assert result.ret == pytest.ExitCode.OK


def test_a_test_on_the_list_may_be_skipped(run, pytester):
    pytester.makeconftest(
        """
        from tests import no_skips

        no_skips.MAY_SKIP["test_a_test_on_the_list_may_be_skipped.py::test_it"] = "two GPUs"
        """
    )

    result = run(
        """
        import pytest

        @pytest.mark.parametrize("n", [1, 2])
        def test_it(n):
            pytest.skip("one GPU")
        """
    )

    result.assert_outcomes(skipped=2)
