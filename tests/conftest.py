# SPDX-License-Identifier: Apache-2.0
"""What the levels that run real programs share: the lab, and sluiced in it. SLUICE_BUILD_DIR: which build (default: build/dev)."""
import pathlib
import signal
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "sim"))
sys.dont_write_bytecode = True

from lab import netns  # noqa: E402  pylint: disable=wrong-import-position
from lab.clients import Curl  # noqa: E402  pylint: disable=wrong-import-position
from lab.sluice import DECRYPT_ALL, Sluice  # noqa: E402  pylint: disable=wrong-import-position
from lab.topology import Lab  # noqa: E402  pylint: disable=wrong-import-position


@pytest.fixture(scope="session")
def lab():
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that the lab goes away
    one = Lab().up()
    try:
        one.divert()
        yield one
    finally:
        one.down()


@pytest.fixture(scope="session")
def shared_sluice(lab):
    """The sluiced that most tests use; it must survive them all."""
    one = Sluice(lab).start()
    one.ca_file()
    one.commit(DECRYPT_ALL)
    yield one
    assert one.stop() == 0


@pytest.fixture
def sluice(shared_sluice):
    """It decrypts everything, with default settings, at the beginning of each test."""
    if shared_sluice.dirty:
        shared_sluice.commit(DECRYPT_ALL)
        shared_sluice.dirty = False
    assert shared_sluice.process.poll() is None, f"sluiced is gone:\n{shared_sluice.log()[-4000:]}"
    shared_sluice.quiet()
    yield shared_sluice
    assert shared_sluice.process.poll() is None, f"sluiced ended during the test:\n{shared_sluice.log()[-4000:]}"


@pytest.fixture(scope="session")
def own_lab():
    """A second lab, for tests that need a gateway of their own: two on the same ports would share the connections."""
    one = Lab().up()
    try:
        one.divert()
        yield one
    finally:
        one.down()


@pytest.fixture
def own_sluice(own_lab, tmp_path_factory):
    """Makes a gateway in the second lab: call it with settings, then start() it. One at a time; the test may end it itself."""
    made = []

    def make(**settings):
        one = Sluice(own_lab, name=tmp_path_factory.mktemp("own").name, **settings)
        made.append(one)
        return one

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def curl(lab, sluice):
    return Curl(lab, sluice.ca_file())


@pytest.fixture
def own_curl(own_lab):
    return lambda sluice: Curl(own_lab, sluice.ca_file())


@pytest.fixture(scope="session")
def load_program(tmp_path_factory):
    """The load client, compiled."""
    program = tmp_path_factory.mktemp("load") / "load"
    source = pathlib.Path(__file__).resolve().parents[1] / "sim" / "lab" / "load.c"
    netns.run("cc", "-std=gnu17", "-O2", "-D_GNU_SOURCE", source, "-o", program, "-lssl", "-lcrypto")
    return program
