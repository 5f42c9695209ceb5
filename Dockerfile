# Release image of savepoint-gateway: the binary, a libc, CA roots, and nothing to log in to.
#
#   docker build -t savepoint-gateway .
#
# deploy/image/check.sh builds it and proves what is said here.

ARG RUST_VERSION=1.95
# Any base with glibc 2.36 or newer and libgcc_s will do. A release names it by digest
# (--build-arg RUNTIME_IMAGE=...@sha256:...); a digest written down here would be stale long
# before anyone read it.
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM rust:${RUST_VERSION}-bookworm AS toolchain
WORKDIR /build
# For the C code of the dependencies: same sources, same lock file, same toolchain, same binary.
# A constant, because a new value makes every crate with C code compile again.
ENV SOURCE_DATE_EPOCH=0

# The manifest, and an empty program in place of the root of every target that it can name. This
# runs on every change of a source, and comes out with the same content as long as the manifest,
# the lock file and the list of targets do; so the next stage, which copies from here, is cached.
# It is cargo-chef's idea without a tool to build first.
FROM toolchain AS skeleton
COPY . /context
RUN cd /context \
 && mkdir /skeleton \
 && cp -r Cargo.toml Cargo.lock .cargo /skeleton/ \
 && find . -name '*.rs' \( -path './build.rs' -o -path './src/main.rs' -o -path './src/bin/*' \
      -o -path './tests/*' -o -path './benches/*' -o -path './examples/*' \) \
    | while read -r root; do \
        mkdir -p "/skeleton/${root%/*}" && printf '//! Stands in.\nfn main() {}\n' > "/skeleton/$root"; \
      done \
 && if [ -e src/lib.rs ]; then echo '//! Stands in.' > /skeleton/src/lib.rs; fi

FROM toolchain AS dependencies
COPY --from=skeleton /skeleton ./
# The clean removes this package's own output and no other: Cargo compares dates, and could take
# what it made of the empty files for newer than the sources.
RUN cargo build --release --locked \
 && cargo clean --release --locked --package savepoint-gateway

FROM dependencies AS build
COPY build.rs ./
COPY proto proto
COPY src src
RUN cargo build --release --locked --bin savepoint-gateway \
 && install -D --mode=0555 target/release/savepoint-gateway /out/savepoint-gateway \
 && install -D --mode=0444 /etc/ssl/certs/ca-certificates.crt /out/ca-certificates.crt \
 && find /out -exec touch --date=@0 {} +

FROM ${RUNTIME_IMAGE}
ARG RUNTIME_IMAGE
# Who builds a release says these; empty means "not said", and is better than a wrong guess.
# `created` is RFC 3339. Where the image is published, its `source` and `url` are added with
# --label.
ARG VERSION=""
ARG REVISION=""
ARG CREATED=""
LABEL org.opencontainers.image.title="savepoint-gateway" \
      org.opencontainers.image.description="A gRPC gateway that imports and reads Flink savepoints through the REST APIs of Huawei Cloud DLI and Alibaba Cloud Realtime Compute" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.base.name="${RUNTIME_IMAGE}"

# The default base has CA roots of its own; another base need not, and without them every call
# to a provider fails at the TLS handshake.
COPY --from=build /out/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY LICENSE /usr/share/doc/savepoint-gateway/LICENSE
COPY --from=build /out/savepoint-gateway /usr/local/bin/savepoint-gateway

# The program's own defaults are loopback, which inside a container's network namespace nobody
# else reaches: published ports and probes would find nothing. Here the namespace is the border;
# docker opens it with -p, but in Kubernetes every pod comes in that no NetworkPolicy keeps out.
# A sidecar shares its pod's loopback and should set SAVEPOINT_GATEWAY_LISTEN=127.0.0.1:50051
# again, or a unix: path. IPv4 on purpose: [::] does not bind where IPv6 is off; a cluster of
# IPv6 alone sets [::]:50051 and [::]:9464.
ENV SAVEPOINT_GATEWAY_LISTEN=0.0.0.0:50051 \
    SAVEPOINT_GATEWAY_ADMIN_LISTEN=0.0.0.0:9464
EXPOSE 50051 9464

# By number: Kubernetes cannot check runAsNonRoot against a name.
USER 65532:65532

# There is no shell or curl to probe with. The program asks at an address above, and so follows an
# override; it gives up by itself after 3 s, with a reason. Kubernetes has probes of its own.
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s --retries=3 \
    CMD ["/usr/local/bin/savepoint-gateway", "healthcheck"]

# Exec form: the gateway is process 1 and gets SIGTERM itself.
ENTRYPOINT ["/usr/local/bin/savepoint-gateway"]
CMD ["serve"]
