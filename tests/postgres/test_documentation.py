"""The programs of the documentation run, and print what they should."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.servers.postgres import Postgres, running_postgres, running_replica

pytestmark = pytest.mark.servers

TEXT = (ROOT / "docs" / "postgres.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
TABLES = """
CREATE TABLE users (id serial PRIMARY KEY, name text, email text, active bool DEFAULT true);
CREATE TABLE accounts (id int PRIMARY KEY, balance int);
CREATE TABLE logs (message text);
CREATE TABLE large (i int PRIMARY KEY, t text);
INSERT INTO users (name) VALUES ('Zoe');
INSERT INTO accounts VALUES (1, 500), (2, 0);
INSERT INTO large SELECT i, 'x' FROM generate_series(1, 2500) i;
"""


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Postgres, Postgres]]:
    with running_postgres() as primary:
        primary.run(TABLES)
        with running_replica(primary) as replica:
            yield primary, replica


def test_every_program_does_what_it_says(
    servers: tuple[Postgres, Postgres],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    primary, replica = servers
    monkeypatch.chdir(tmp_path)
    environment = {
        "PG_HOST": primary.host,
        "PG_PORT": str(primary.port),
        "PG_DATABASE": "postgres",
        "PG_USERNAME": primary.user,
        "PG_PASSWORD": primary.password,
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    printed = []
    for program in PROGRAMS:
        if "PG_REPLICA_HOSTS" in program:
            monkeypatch.setenv("PG_REPLICA_HOSTS", f"{replica.host}:{replica.port}")
        exec(program, {"__name__": "__main__"})
        monkeypatch.delenv("PG_REPLICA_HOSTS", raising=False)
        printed.append(capsys.readouterr().out)
    assert printed == [
        "1 Zoe None\ncreated user 2\n",
        "balance 399\n",
        "replica\n",
        "2490 rows\n1000 rows at once\n1000 rows at once\n500 rows at once\n101\n",
        "3 int32\n2000 rows in a batch\n500 rows in a batch\n",
        "inserted 2\ncopied 1\nErin\n",
        'events {"type": "user_created", "id": 123}\nalerts \n',
        "step 1\nwent back\nawaited\n",
        "SELECT 1 None SELECT id FROM users WHERE name = ? AND id < $1\n",
        "duckalog_pg_statements_total{"
        'kind="statement",operation="SELECT",outcome="ok",role="primary"} 1.0\n',
        "postgres DELETE done DELETE FROM logs WHERE message = $1 {'$1': 'went back'}\n"
        "postgres SELECT done SELECT * FROM users WHERE email = $1 {}\n",
        "[Row(name='E***', contact='***')]\n",
        "Zoe\nusers.jsonl:3: this was recorded with other values: "
        "query: SELECT name FROM users WHERE id < $1\n"
        "    At this line $1 is 2.\n    Record it anew.\n",
        "[1]\n",
    ]
