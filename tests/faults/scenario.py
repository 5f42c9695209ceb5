"""What a scenario is, and what scenarios have in common."""

import contextlib

from harness import Cloud, Gateway, good

SCENARIOS = []


class Skip(Exception):
    """This cannot be tried, and why."""


def scenario(number, title, criterion):
    """Registers a function that takes whether to be quick, and returns what it measured."""

    def register(function):
        SCENARIOS.append((number, title, criterion, function))
        return function

    return register


def ms(seconds):
    return f"{1000 * seconds:.1f} ms"


@contextlib.asynccontextmanager
async def stage(answer=good, *flags, **options):
    """A provider and a gateway in front of it, and both gone afterwards."""
    async with Cloud(answer) as cloud, Gateway(cloud.url, *flags, **options) as gateway:
        async with gateway.channel() as channel:
            yield cloud, gateway, channel
        assert gateway.panics == 0, "a panic"
