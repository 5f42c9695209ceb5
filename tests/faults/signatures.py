"""Which credential a request was signed with, found out as a provider does it: by making the
signature again. A key of one rotation with the secret of another does not pass."""

import hashlib
import hmac

HUAWEI = "SDK-HMAC-SHA256"
ALIBABA = "ACS3-HMAC-SHA256"


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Doorkeeper:
    """The keys and tokens that a provider knows, and those that it does so no longer."""

    def __init__(self):
        self.secrets = {}
        self.tokens = set()
        self.revoked = set()
        # Requests that each credential was good for, and what was wrong with the others.
        self.seen = {}
        self.refused = []

    def issue(self, key_id):
        secret = f"exampleSecretOf{key_id}"
        self.secrets[key_id] = secret
        return secret

    def issue_token(self, token):
        self.tokens.add(token)
        return token

    def admits(self, request):
        """Whether the request is signed with a credential that is good."""
        credential, why = self.identify(request)
        if not why and credential in self.revoked:
            why = f"{credential} is revoked"
        if why:
            self.refused.append(why)
            return False
        self.seen[credential] = self.seen.get(credential, 0) + 1
        return True

    def identify(self, request):
        headers = request.headers()
        token = headers.get("x-auth-token")
        if token is not None:
            known = token in self.tokens and "authorization" not in headers
            return token, "" if known else "a token that nobody issued"
        scheme, _, rest = headers.get("authorization", "").partition(" ")
        parts = dict(part.strip().split("=", 1) for part in rest.split(",") if "=" in part)
        if scheme == HUAWEI:
            key_id, path, date = parts.get("Access"), request.path + "/", headers.get("x-sdk-date")
            prefix = f"{HUAWEI}\n{date}\n"
        elif scheme == ALIBABA:
            key_id, path, prefix = parts.get("Credential"), request.path, f"{ALIBABA}\n"
        else:
            return None, "no signature"
        secret = self.secrets.get(key_id)
        if secret is None:
            return key_id, f"{key_id} was never issued"
        names = parts["SignedHeaders"]
        block = "".join(f"{name}:{headers[name]}\n" for name in names.split(";"))
        canonical = f"{request.method}\n{path}\n\n{block}\n{names}\n{sha256(request.body)}"
        text = prefix + sha256(canonical.encode())
        made = hmac.new(secret.encode(), text.encode(), "sha256").hexdigest()
        if not hmac.compare_digest(made, parts["Signature"]):
            return key_id, f"the signature is not made with the secret of {key_id}"
        return key_id, ""
