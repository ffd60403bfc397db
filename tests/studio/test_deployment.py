"""What operators start from: compose.yaml, systemd units, the example of an environment."""

import configparser
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from django.conf import settings
from django.core.management import get_commands

ROOT = Path(settings.BASE_DIR)
UNITS = sorted(ROOT.glob("deploy/systemd/*.service"))
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
DOCUMENTED = set(
    re.findall(r"`([A-Z][A-Z0-9_]{3,})`", (ROOT / "docs/configuration.md").read_text())
)
OTHERS = {"OMP_NUM_THREADS", "AWS_DEFAULT_REGION", "CUDA_VISIBLE_DEVICES"}
"""Variables that are not ours."""


def unit(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(path)
    return parser


def commands_in(text: str) -> list[str]:
    return re.findall(r"manage\.py ([a-z]+)", text)


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_runs_a_command_of_ours_with_the_environment_of_the_site(path):
    service = unit(path)["Service"]
    line = service["ExecStart"]
    assert "gunicorn studio.wsgi" in line or set(commands_in(line)) <= set(get_commands()), line
    assert service["EnvironmentFile"] == "/etc/studio/studio.env"
    assert service["User"] == "studio"
    if path.stem != "studio-backup":
        assert unit(path)["Install"]["WantedBy"] == "studio.target"
        assert service["Restart"] == "always"


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_a_service_of_compose_runs_a_command_of_ours(name):
    line = " ".join(map(str, COMPOSE["services"][name].get("command", [])))
    assert set(commands_in(line.replace("manage.py, ", "manage.py "))) <= set(get_commands())


def test_every_variable_that_we_hand_out_is_documented():
    handed = set(COMPOSE["x-site"]["environment"])
    example = (ROOT / "docs/production.env.example").read_text()
    handed |= set(re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", example, re.MULTILINE))
    for path in UNITS:
        for word in unit(path)["Service"].get("Environment", "").split():
            handed.add(word.partition("=")[0])
    assert handed - DOCUMENTED - OTHERS == set()


def test_new_env_makes_all_that_compose_asks_for_and_no_secret_twice():
    asked = set(re.findall(r"\$\{([A-Z_]+):\?", (ROOT / "compose.yaml").read_text()))

    def made() -> dict[str, str]:
        said = subprocess.run(
            [ROOT / "deploy/new-env", "studio.example.com"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        pairs = (line.split("=", 1) for line in said.splitlines() if not line.startswith("#"))
        return dict(pairs)

    first, second = made(), made()
    assert asked <= set(first)
    secrets = asked - {"STUDIO_HOST"}
    assert all(first[name] != second[name] and len(first[name]) >= 40 for name in secrets)
    from cryptography.fernet import Fernet

    Fernet(first["CREDENTIALS_KEYS"])  # raises for what is no key


def test_new_env_without_a_host_says_how_it_is_called():
    done = subprocess.run([ROOT / "deploy/new-env"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "HOST" in done.stderr
