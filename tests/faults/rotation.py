"""Faults 11 to 13: certificates and credentials are replaced under load, by good ones and by
garbage. The provider makes every signature again and so knows which key signed."""

import asyncio
import contextlib
import pathlib
import shutil
import signal
import socket
import ssl
import tempfile
import time

import grpc
import trustme

import harness
from harness import H2_HELLO, Callers, Cloud, Gateway, Reply, good
from scenario import scenario
from signatures import Doorkeeper

RATE, QUICK_RATE = 500, 200
# A file is read every 2 s, and a key must then stay the same for 1 s.
TAKEN_OVER = 5.0
PROVIDERS = ("huawei-dli", "alibaba-flink")


def mount(folder, files):
    """Puts these files into a directory, and no others, as Kubernetes mounts a secret: links
    into a directory that is itself behind a link, which is swapped."""
    data = folder / "..data"
    old = data.resolve() if data.is_symlink() else None
    inside = pathlib.Path(tempfile.mkdtemp(prefix="..v", dir=folder))
    for name, content in files.items():
        (inside / name).write_bytes(content.encode() if isinstance(content, str) else content)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    swap = folder / "..data_tmp"
    swap.symlink_to(inside.name)
    swap.replace(data)
    if old is not None:
        shutil.rmtree(old)


def write(folder, files):
    """Replaces files of a plain directory, each by a rename."""
    for name, content in files.items():
        (folder / f".{name}").write_text(content)
    for name in files:
        (folder / f".{name}").replace(folder / name)


def key_files(doorkeeper, key_id):
    return {"access_key_id": key_id, "access_key_secret": doorkeeper.issue(key_id) + "\n"}


def token_file(doorkeeper, token):
    return {"token": doorkeeper.issue_token(token) + "\n"}


@contextlib.contextmanager
def folders(*names):
    with tempfile.TemporaryDirectory() as root:
        made = [pathlib.Path(root) / name for name in names]
        for folder in made:
            folder.mkdir()
        yield made


def guarded(doorkeeper):
    """A provider that lets nobody in without a good signature."""

    def answer(request):
        if doorkeeper.admits(request):
            return good(request)
        return Reply(401, b'{"error_code":"APIGW.0301","Code":"InvalidAccessKeyId.Inactive"}')

    return Cloud(answer)


async def rotate(quick, make_files, put_huawei, put_alibaba, huawei_source, alibaba_source):
    """Replaces both credentials under load, then revokes the old ones at the provider; once by
    polling and once by SIGHUP. Returns the number of calls and the longest take-over."""
    doorkeeper = Doorkeeper()
    generations = [make_files(doorkeeper, n) for n in range(2 if quick else 3)]

    def install(generation):
        put_huawei(generation["huawei"][1])
        put_alibaba(generation["alibaba"][1])
        return {generation["huawei"][0], generation["alibaba"][0]}

    serving = install(generations[0])
    sources = ("--huawei-credentials", huawei_source, "--alibaba-credentials", alibaba_source)
    slowest = 0.0
    async with guarded(doorkeeper) as cloud, Gateway(cloud.url, *sources) as gateway:
        async with harness.own_lag() as lag, Callers(
                QUICK_RATE if quick else RATE, gateway.channel) as callers:
            await harness.until(lambda: serving <= set(doorkeeper.seen), what="the first keys")
            for turn, generation in enumerate(generations[1:]):
                before = await obtained(gateway)
                began, old = time.monotonic(), serving
                serving = install(generation)
                if turn or quick:
                    gateway.signal(signal.SIGHUP)
                await harness.until(lambda: serving <= set(doorkeeper.seen), what="the new keys")
                slowest = max(slowest, time.monotonic() - began - lag[0])
                # What was signed before is under way no longer when nothing new of it comes.
                while True:
                    counts = [doorkeeper.seen[key] for key in old]
                    await asyncio.sleep(0.5 + lag[0])
                    if counts == [doorkeeper.seen[key] for key in old]:
                        break
                doorkeeper.revoked |= old
                await asyncio.sleep(1 if quick else 4)
                after = await obtained(gateway)
                assert all(after[p] > before[p] for p in PROVIDERS), (before, after)
            ready = await gateway.is_ready()
    assert ready, "not ready"
    assert not doorkeeper.refused, f"refused: {doorkeeper.refused[:3]}"
    callers.assert_none_failed()
    assert slowest < TAKEN_OVER, f"in use after {slowest:.1f} s"
    return callers, slowest


async def obtained(gateway):
    metrics = await gateway.metrics()
    name = "savepoint_gateway_credential_refreshes_total"
    return {p: metrics[f'{name}{{provider="{p}",outcome="success"}}'] for p in PROVIDERS}


@scenario(12, "credential files are replaced under load, and the old ones revoked",
          "no call fails; the new ones sign within 5 s; no request is signed with the old ones "
          "after that")
async def credentials(quick):
    figures = []
    with folders("huawei", "alibaba") as (huawei, alibaba):
        def of_directories(doorkeeper, n):
            return {"huawei": (f"HUAWEIKEY{n}", key_files(doorkeeper, f"HUAWEIKEY{n}")),
                    "alibaba": (f"ALIBABAKEY{n}", key_files(doorkeeper, f"ALIBABAKEY{n}"))}

        callers, slowest = await rotate(
            quick, of_directories, lambda files: mount(huawei, files),
            lambda files: write(alibaba, files), f"dir:{huawei}", f"dir:{alibaba}")
        figures.append(f"keys in directories (link swapped, files renamed): {callers.calls} calls "
                       f"at {callers.achieved:.0f}/s, in use after {slowest:.1f} s at most")
    if not quick:
        with folders("huawei", "alibaba") as (huawei, alibaba):
            def with_token(doorkeeper, n):
                return {"huawei": (f"exampleToken{n}", token_file(doorkeeper, f"exampleToken{n}")),
                        "alibaba": (f"ALIBABAKEY{n}", key_files(doorkeeper, f"ALIBABAKEY{n}"))}

            callers, slowest = await rotate(
                quick, with_token, lambda files: write(huawei, files),
                lambda files: mount(alibaba, files),
                f"token-file:{huawei}/token", f"dir:{alibaba}")
            figures.append(f"token in a file, key behind a link: {callers.calls} calls at "
                           f"{callers.achieved:.0f}/s, {slowest:.1f} s")
    return "; ".join(figures) + "; none failed, none signed with what was revoked"


# --- TLS.


class Issuer:
    """An authority, and the certificates that it made."""

    def __init__(self):
        self.ca = trustme.CA()

    @property
    def pem(self):
        return self.ca.cert_pem.bytes()

    def certificate(self, name):
        made = self.ca.issue_cert(name)
        return made.cert_chain_pems[0].bytes(), made.private_key_pem.bytes()


def tls_files(server, client_cas):
    return {"tls.crt": server[0], "tls.key": server[1], "ca.crt": b"".join(client_cas)}


def tls_flags(folder):
    return ("--tls-cert", f"{folder}/tls.crt", "--tls-key", f"{folder}/tls.key",
            "--tls-client-ca", f"{folder}/ca.crt")


class Handshake:
    """Makes connections of its own to see which certificate is served and whom it serves."""

    def __init__(self, gateway, issuer, pair):
        self.gateway = gateway
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.load_verify_locations(cadata=issuer.pem.decode())
        self.context.set_alpn_protocols(["h2"])
        with tempfile.NamedTemporaryFile() as file:
            file.write(pair[0] + pair[1])
            file.flush()
            self.context.load_cert_chain(file.name)

    def _made(self):
        try:
            with socket.create_connection(("127.0.0.1", self.gateway.port), 10) as plain, \
                    self.context.wrap_socket(plain, server_hostname="localhost") as tls:
                served = tls.getpeercert(binary_form=True)
                # With TLS 1.3 a refusal comes after the handshake.
                tls.sendall(H2_HELLO)
                return served, bool(tls.recv(9))
        except OSError:
            return None, False

    async def made(self):
        """The certificate that was served, in DER, and whether the caller's own was accepted."""
        return await asyncio.get_running_loop().run_in_executor(None, self._made)

    async def serves(self, pair):
        served, accepted = await self.made()
        return accepted and served == ssl.PEM_cert_to_DER_cert(pair[0].decode())


@scenario(11, "the serving certificate and the authority of callers are replaced under load",
          "no call fails; new handshakes show the new certificate within 5 s; callers of the old "
          "authority are refused then, and connections that are open go on")
async def certificates(quick):
    servers, old_callers, new_callers = Issuer(), Issuer(), Issuer()
    first, second = servers.certificate("localhost"), servers.certificate("localhost")
    old, new = old_callers.certificate("old.test"), new_callers.certificate("new.test")
    shown = [old]

    def secrets():
        cert, key = shown[0]
        return grpc.ssl_channel_credentials(servers.pem, key, cert)

    with folders("tls") as (folder,):
        mount(folder, tls_files(first, [old_callers.pem]))
        async with Cloud() as cloud, Gateway(cloud.url, *tls_flags(folder)) as gateway:
            with_old = Handshake(gateway, servers, old)
            assert await with_old.serves(first), "the first certificate"
            made = 0

            async def churn():
                nonlocal made
                while True:
                    # The first channel stays, from the first certificate to the end.
                    await callers.replace(1 + made % (len(callers.channels) - 1))
                    made += 1
                    await asyncio.sleep(0.05 if quick else 0.1)

            async with harness.own_lag() as lag, Callers(
                    QUICK_RATE if quick else RATE,
                    lambda: gateway.channel(secrets())) as callers:
                churning = asyncio.ensure_future(churn())
                await asyncio.sleep(0.3 if quick else 1)
                began = time.monotonic()
                mount(folder, tls_files(second, [old_callers.pem, new_callers.pem]))
                await harness.until(lambda: with_old.serves(second), what="the new certificate")
                swapped = time.monotonic() - began - lag[0]
                # From here on callers show certificates of the new authority.
                shown[0], turn = new, made
                await harness.until(
                    lambda: made > turn + len(callers.channels) + 1, what="all channels are new")
                mount(folder, tls_files(second, [new_callers.pem]))
                if quick:
                    gateway.signal(signal.SIGHUP)

                async def refused():
                    return not (await with_old.made())[1]

                await harness.until(refused, what="the old authority is refused")
                with_new = Handshake(gateway, servers, new)
                assert await with_new.serves(second), "the new authority is served"
                await asyncio.sleep(0.3 if quick else 4)
                churning.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await churning
            metrics = await gateway.metrics()
    callers.assert_none_failed()
    taken = metrics['savepoint_gateway_tls_reloads_total{outcome="success"}']
    assert taken == 2, f"{taken:.0f} changes in use"
    assert swapped < TAKEN_OVER, f"served after {swapped:.1f} s"
    return (f"{callers.calls} calls at {callers.achieved:.0f}/s over {made + 8} connections, none "
            f"failed; the new certificate served after {swapped:.1f} s")


# --- Garbage.


def garbage(pair, other):
    """Pairs of what a secret of each kind may be turned into, and what the log says of it."""
    cert, key = pair
    no_secret = {"access_key_id": "GARBAGE"}
    return [
        # Emptied, as by a disk that is full.
        ({"token": ""}, "is empty",
         {"access_key_id": "", "access_key_secret": ""}, "is empty",
         {"tls.crt": "", "tls.key": key}, "--tls-cert"),
        # Half of it, or one of two.
        ({"token": b"\x80\x81"}, "is not text",
         no_secret, "access_key_secret",
         {"tls.crt": cert, "tls.key": key[: len(key) // 2]}, "--tls-key"),
        # Saved by an editor that means well.
        ({"token": b"\xef\xbb\xbfexampleToken"}, "byte order mark",
         {"access_key_id": b"\xef\xbb\xbfGARBAGE", "access_key_secret": "exampleSecret"},
         "byte order mark",
         {"tls.crt": cert, "tls.key": other[1]}, "--tls-key"),
        # Two lines, a binary, and no file at all.
        ({"token": "exampleToken\nexampleToken"}, "token",
         {"access_key_id": "GARBAGE\nGARBAGE", "access_key_secret": "exampleSecret"},
         "access key id",
         {"tls.crt": b"\0\1\2", "tls.key": b"\0\1\2"}, "--tls-cert"),
    ]


@scenario(13, "credentials and the certificate are replaced by garbage under load",
          "no call fails and the previous ones stay in use; ready; log and metrics show it; valid "
          "ones are used again")
async def spoiled(quick):
    doorkeeper, servers, callers_ca = Doorkeeper(), Issuer(), Issuer()
    pair, other = servers.certificate("localhost"), servers.certificate("localhost")
    cert, key = callers_ca.certificate("caller.test")
    with folders("huawei", "alibaba", "tls") as (huawei, alibaba, tls):
        mount(huawei, token_file(doorkeeper, "exampleToken1"))
        mount(alibaba, key_files(doorkeeper, "KEY1"))
        mount(tls, tls_files(pair, [callers_ca.pem]))
        flags = ("--huawei-credentials", f"token-file:{huawei}/token",
                 "--alibaba-credentials", f"dir:{alibaba}", *tls_flags(tls))
        async with guarded(doorkeeper) as cloud, Gateway(cloud.url, *flags) as gateway:
            handshake = Handshake(gateway, servers, (cert, key))
            kinds = garbage(pair, other)[: 1 if quick else None]

            async def refreshed():
                metrics = await gateway.metrics()
                name = "savepoint_gateway_credential_last_refresh_success"
                return [metrics[f'{name}{{provider="{p}"}}'] for p in PROVIDERS]

            async with Callers(QUICK_RATE if quick else RATE, lambda: gateway.channel(
                    grpc.ssl_channel_credentials(servers.pem, key, cert))) as callers:
                for turn, (token, token_error, keys, keys_error, files, files_error) \
                        in enumerate(kinds):
                    before = len(gateway.events)
                    failures = (await gateway.metrics())['savepoint_gateway_tls_reloads_total{outcome="failure"}']
                    mount(huawei, token)
                    mount(alibaba, keys)
                    mount(tls, {**files, "ca.crt": callers_ca.pem})
                    # By polling and, every other time, on the operator's word.
                    if turn % 2 or quick:
                        gateway.signal(signal.SIGHUP)

                    def logged(*words, since=before):
                        return any(all(w in line for w in words) for line in gateway.events[since:])

                    await harness.until(
                        lambda: logged("huawei-dli", "credential refresh failed", token_error),
                        what=f"the log tells of the token: {token_error}")
                    await harness.until(
                        lambda: logged("alibaba-flink", "credential refresh failed", keys_error),
                        what=f"the log tells of the key: {keys_error}")
                    await harness.until(
                        lambda: logged("keeping the previous certificate", files_error),
                        what=f"the log tells of the certificate: {files_error}")
                    assert await refreshed() == [0, 0], "the metrics tell of the credentials"
                    metrics = await gateway.metrics()
                    assert metrics['savepoint_gateway_tls_reloads_total{outcome="failure"}'] > failures
                    assert await handshake.serves(pair), "the previous certificate is not in use"
                    assert await gateway.is_ready(), "ready"
                assert set(doorkeeper.seen) == {"exampleToken1", "KEY1"}, doorkeeper.seen
                mount(huawei, token_file(doorkeeper, "exampleToken2"))
                mount(alibaba, key_files(doorkeeper, "KEY2"))
                mount(tls, tls_files(other, [callers_ca.pem]))
                if quick:
                    gateway.signal(signal.SIGHUP)
                await harness.until(
                    lambda: {"exampleToken2", "KEY2"} <= set(doorkeeper.seen),
                    what="the new credentials sign")
                await harness.until(lambda: handshake.serves(other), what="the new certificate")
                assert await refreshed() == [1, 1], "the metrics tell of the recovery"
    callers.assert_none_failed()
    assert not doorkeeper.refused, f"refused: {doorkeeper.refused[:3]}"
    return (f"{3 * len(kinds)} kinds of garbage, each shown in log and metrics; {callers.calls} "
            f"calls at {callers.achieved:.0f}/s, none failed")
