"""What clients asked of a Redis, without what its scripts ran inside and without the experiment's own looks."""

# INFO counts a script's inner commands like any other; of a gateway's own these are the only ones with such names.
OF_CLIENTS = {"evalsha", "eval", "evalsha_ro", "eval_ro", "fcall", "script|load", "script|exists", "role", "hello", "auth",
              "select", "client|setname", "client|setinfo", "client|id", "client|tracking", "config|get", "subscribe",
              "unsubscribe", "psubscribe", "ping", "multi", "exec", "watch"}


def calls_of(redis):
    """{name: calls} of every command so far."""
    calls = {}
    for line in redis.command("INFO", "commandstats").decode().splitlines():
        if line.startswith("cmdstat_"):
            name, _, rest = line[len("cmdstat_"):].partition(":")
            calls[name] = int(rest.split(",")[0].removeprefix("calls="))
    return calls


def commands_of_clients(redis):
    """{name: calls} of those that connections sent; the harness's first PINGs are among them."""
    return {name: n for name, n in calls_of(redis).items() if name in OF_CLIENTS}


def since(redis, before):
    """How many commands clients sent since BEFORE, an earlier answer of commands_of_clients."""
    return sum(commands_of_clients(redis).values()) - sum(before.values())
