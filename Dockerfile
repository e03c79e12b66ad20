# Babygun's images, one per duty, all of the same layers:
#
#   docker build --target api .        the API; the other targets:
#       worker
#       bounced
#       tools        the command line, etcdctl and scripts/bootstrap
#       balancer     HAProxy
#
# Build arguments, all optional:
#   PYTHON_IMAGE, ETCD_IMAGE   the base images, for instance from a mirror
#   PIP_INDEX_URL              another package index
#   WHEELS                     a folder here with a wheel of every requirement; pip uses no index then.
#                              To fill it: pip download --only-binary :all: --require-hashes
#                              -r deploy/requirements.lock -d wheels
#   DEBIAN_MIRROR              another mirror for HAProxy's package
#   HAPROXY_VERSION            Debian's version of it in PYTHON_IMAGE, without Debian's patches
ARG PYTHON_IMAGE=python:3.13-slim-trixie
ARG ETCD_IMAGE=quay.io/coreos/etcd:v3.6.16

FROM ${ETCD_IMAGE} AS etcd

FROM ${PYTHON_IMAGE} AS build
ARG PIP_INDEX_URL
ARG WHEELS=deploy/wheels
WORKDIR /build
COPY deploy/requirements.lock ${WHEELS}* wheels/
RUN python -m venv --without-pip /opt/babygun \
 && if ls wheels/*.whl >/dev/null 2>&1; then options="--no-index --find-links wheels"; fi \
 && pip --disable-pip-version-check --no-cache-dir --python /opt/babygun/bin/python install \
    --only-binary :all: $options --require-hashes -r wheels/requirements.lock
COPY babygun /tmp/babygun
RUN python=/opt/babygun/bin/python \
 && packages="$($python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
 && mv /tmp/babygun "$packages/babygun" \
 && printf '#!%s\nimport sys\nfrom babygun.cli import main\nsys.exit(main())\n' $python \
    > /opt/babygun/bin/babygun \
 && chmod 755 /opt/babygun/bin/babygun \
 && find /opt/babygun -name tests -type d -prune -exec rm -rf {} + \
 && $python -m compileall -q --invalidation-mode unchecked-hash /opt/babygun/lib

# The base image has pip, which nothing needs at run time.
FROM ${PYTHON_IMAGE} AS runtime
RUN rm -rf /usr/local/lib/python3*/site-packages/pip* /usr/lib/python3/dist-packages/pip* \
    /usr/local/bin/pip* /usr/bin/pip* \
 && groupadd --system --gid 10001 babygun \
 && useradd --system --uid 10001 --gid babygun --no-create-home --home-dir /nonexistent babygun
COPY --from=build /opt/babygun /opt/babygun
ENV PATH=/opt/babygun/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 BABYGUN_LOG_FORMAT=json
USER babygun
ENTRYPOINT ["babygun"]

FROM runtime AS api
ENV BABYGUN_API_HOST=0.0.0.0
EXPOSE 8080
EXPOSE 8081
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["babygun", "health", "--live", "api"]
CMD ["api"]

FROM runtime AS worker
ENV BABYGUN_WORKER_HOST=0.0.0.0 BABYGUN_WORKER_PORT=9090
EXPOSE 9090
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["babygun", "health", "--live", "worker"]
CMD ["worker"]

FROM runtime AS bounced
ENV BABYGUN_BOUNCE_PORT=2525 BABYGUN_BOUNCE_PROBE_HOST=0.0.0.0 BABYGUN_BOUNCE_PROBE_PORT=9092
EXPOSE 2525
EXPOSE 9092
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["babygun", "health", "--live", "bounced"]
CMD ["bounced"]

# An empty volume takes the owner of the folder that it hides, so babygun can write to these.
FROM runtime AS tools
USER root
COPY --from=etcd /usr/local/bin/etcdctl /usr/local/bin/etcdutl /usr/local/bin/
COPY scripts/bootstrap scripts/check-cluster /usr/local/bin/
COPY scripts/backup-etcd scripts/restore-etcd scripts/promote-etcd scripts/leader-last /usr/local/bin/
RUN for part in authority etcd api worker bounced balancer inspector operator; do mkdir -p /certificates/$part; done \
 && mkdir -p /data/etcd1 /data/etcd2 /data/etcd3 /backups \
 && chown -R babygun:babygun /certificates /data /backups \
 && chmod -R go-rwx /certificates /data /backups
USER babygun
ENTRYPOINT []
CMD ["babygun", "--help"]

FROM ${PYTHON_IMAGE} AS balancer
ARG DEBIAN_MIRROR
ARG HAPROXY_VERSION=3.0.11-1
RUN if [ -n "$DEBIAN_MIRROR" ]; then \
        sed -i "s|^\(deb\|URIs:\) *\(\[[^]]*\] *\)\?[a-z+]*://[^ ]*|\1 \2$DEBIAN_MIRROR|" \
            /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true; \
    fi \
 && apt-get update && apt-get install --yes --no-install-recommends "haproxy=$HAPROXY_VERSION*" \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
COPY deploy/haproxy.cfg /etc/haproxy/haproxy.cfg
USER haproxy
EXPOSE 8443
HEALTHCHECK --interval=3s --timeout=5s CMD ["python3", "-IS", "-c", "\
import socket; \
probe = socket.create_connection(('127.0.0.1', 8405), timeout=3); \
probe.sendall(b'GET /healthz HTTP/1.0\\r\\n\\r\\n'); \
assert b' 200 ' in probe.recv(100)"]
CMD ["haproxy", "-W", "-db", "-f", "/etc/haproxy/haproxy.cfg"]
