"""Nothing that is secret in the whole run may stand in a log, a journal, a ledger of keys, a command's output or an answer.

Each test registers what it uses: `secret(text)`, `key_of(name)` for a caller's key. Gateways that are started with a key that
nobody registered are refused, so that no test is left out by forgetting; what a configuration reads from files and from the
environment is registered by itself, and so is every credential that a client of `wire` shows. Every byte that such a client receives is looked through.
"""

import hashlib
import os
import re

SECRETS = set()
KEYS = set()        # those of SECRETS that may not even go upstream
FOUND = []          # where one was found; a check that fails in a thread of a test is not lost
# Shorter ones stand by chance in what is harmless.
SHORTEST = 8
_SHOWN = re.compile(rb"\r\n(?:x-api-key|authorization|cookie)[ \t]*:[ \t]*(?:(?:bearer|basic)[ \t]+)?([^\r\n]*)", re.IGNORECASE)


def sha256(text):
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def secret(text):
    """TEXT, which is one."""
    assert len(text) >= SHORTEST, f"too short to be told from other text: {text}"
    SECRETS.add(text)
    return text


def key_of(name):
    """The key of the caller of that name in this run."""
    KEYS.add(f"key-of-{name}")
    return secret(f"key-of-{name}")


def learn_shown(head):
    """Register what a request's HEAD (bytes) shows as credentials."""
    for value in _SHOWN.findall(head):
        text = value.decode("latin-1").strip()
        if len(text) >= SHORTEST and len(text) <= 4096 and not text.startswith("eyJ"):
            SECRETS.add(text)       # of a token the signature is what is secret: the tests' maker registers it


def learn_config(value, folder, env):
    """Register what a configuration refers to as {"file"} or {"env"}, and check that its callers' keys are registered."""
    if isinstance(value, list):
        for one in value:
            learn_config(one, folder, env)
    elif isinstance(value, dict):
        if len(value) == 1 and "file" in value:
            _learn_file(os.path.join(folder, value["file"]))
        elif len(value) == 1 and "env" in value:
            _learn_text({**os.environ, **(env or {})}.get(value["env"], ""))
        for one in value.values():
            learn_config(one, folder, env)


def _learn_file(path):
    if os.path.exists(path):
        with open(path, encoding="utf-8", errors="replace") as file:
            _learn_text(file.read())


def _learn_text(text):
    if len(text.strip()) >= SHORTEST:
        SECRETS.add(text.strip())


def check_keys(config):
    """Whether every caller's key of a configuration is among the run's secrets."""
    known = {sha256(text) for text in SECRETS}
    callers = config.get("callers", [])
    strange = [caller.get("name") for caller in callers for key in caller.get("keys", []) if key["sha256"] not in known]
    assert not strange, f"callers whose keys no test has registered as secrets (key_of): {strange}"


def check_silent(text, where, secrets=None):
    """No secret of the run stands in TEXT (str or bytes)."""
    if isinstance(text, bytes):
        text = text.decode("latin-1")
    secrets = SECRETS if secrets is None else secrets
    begun = {start for start in {one[:SHORTEST] for one in list(secrets)} if start in text}     # thousands begin alike
    for one in [one for one in list(secrets) if one[:SHORTEST] in begun and one in text]:
        FOUND.append(f"a secret that begins with {one[:SHORTEST - 2]} stands in {where}")
    told, FOUND[:] = list(FOUND), []
    assert not told, told
